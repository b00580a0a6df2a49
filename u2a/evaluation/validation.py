"""What a validation says of a model: scores, the one number that picks the best checkpoint, and its
calibration.

One encoding pays for all: every availability pattern is a pass of the head. Shape suffixes: N samples, C
classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from u2a.errors import U2AError
from u2a.evaluation.calibration import Calibration
from u2a.evaluation.calibration_fit import fit_calibration
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import Pattern, patterns
from u2a.evaluation.scoring import Scenario, Scorer, classify
from u2a.method.model import U2A
from u2a.recipe.task import TaskSection


@dataclass(frozen=True)
class Validation:
    """One validation of a model.

    Attributes:
        scores: metric to value on the data as it is.
        selected: what `task.select_on` makes of the scores by pattern.
        calibration: temperatures, thresholds and conformal scores of every pattern.
    """

    scores: dict[str, float]
    selected: float
    calibration: Calibration


def judge(model: U2A, encoded: Encoded, task: TaskSection) -> Validation:
    """Validate on an encoded split."""
    scorer = Scorer(model, encoded, task)
    scenarios = [scorer.drop(), *_each_missing(scorer)]
    values = [scenario.scores[task.selection_metric] for scenario in scenarios]
    found = fit_calibration(model.names, pattern_logits(model, encoded), task.kind)
    return Validation(scenarios[0].scores, _selected(values, task), found)


def _each_missing(scorer: Scorer) -> list[Scenario]:
    found = []
    for name in scorer.model.names if len(scorer.model.names) > 1 else ():
        try:
            found.append(scorer.drop([name]))
        except U2AError:  # no sample has anything else
            continue
    return found


def _selected(values: list[float], task: TaskSection) -> float:
    known = [value for value in values if not math.isnan(value)]
    if not known or task.select_on == "complete":
        return values[0]
    if task.select_on == "worst":
        return min(known) if task.spec(task.selection_metric).higher_is_better else max(known)
    return sum(known) / len(known)


def pattern_logits(model: U2A, encoded: Encoded) -> dict[Pattern, tuple[np.ndarray, np.ndarray]]:
    """Logits and targets of the samples that can have each availability pattern."""
    found = {}
    for pattern in patterns(len(model.names)):
        kept_M = torch.tensor(pattern)
        has_all_N = (encoded.present_NM | ~kept_M).all(1)
        if has_all_N.any():
            logits_NC = classify(model, encoded, encoded.present_NM & kept_M)
            found[pattern] = logits_NC[has_all_N].numpy(), encoded.target[has_all_N].numpy()
    return found
