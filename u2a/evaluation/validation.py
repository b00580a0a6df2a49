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
from torch import Tensor

from u2a.evaluation.calibration import Calibration
from u2a.evaluation.calibration_fit import fit_calibration, tempered_loss
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import Pattern, patterns
from u2a.evaluation.scoring import Scorer, classify
from u2a.method.model import U2A
from u2a.recipe.task import TaskSection


@dataclass(frozen=True)
class Validation:
    """One validation of a model.

    Attributes:
        scores: metric to value on the data as it is.
        selected: what `task.select_on` makes of the losses or scores by pattern (`task.select_by`).
        calibration: temperatures, thresholds and conformal scores of every pattern.
    """

    scores: dict[str, float]
    selected: float
    calibration: Calibration


def judge(model: U2A, encoded: Encoded, task: TaskSection) -> Validation:
    """Validate on an encoded split."""
    scorer = Scorer(model, encoded, task)
    whole = scorer.drop().scores
    left = _left(encoded.present_NM)
    if task.selects_by_loss:
        values = [_loss(model, encoded, present_NM, task) for present_NM in left]
    else:
        values = [scorer.keep(present_NM).scores[task.selection_metric] for present_NM in left]
    found = fit_calibration(model.names, pattern_logits(model, encoded), task.kind)
    return Validation(whole, _selected(values, task), found)


def _left(present_NM: Tensor) -> list[Tensor]:
    """The data as it is, and what each modality missing leaves of it, where that is anything."""
    each = torch.eye(present_NM.shape[1], dtype=torch.bool)
    return [left_NM for left_NM in (present_NM, *(present_NM & ~gone_M for gone_M in each)) if left_NM.any()]


def _loss(model: U2A, encoded: Encoded, present_NM: Tensor, task: TaskSection) -> float:
    """Of the samples that have anything left."""
    usable_N = present_NM.any(1)
    logits_NC = classify(model, encoded, present_NM)[usable_N]
    return tempered_loss(logits_NC.numpy(), encoded.target[usable_N].numpy(), task.kind)


def _selected(values: list[float], task: TaskSection) -> float:
    known = [value for value in values if not math.isnan(value)]
    if not known or task.select_on == "complete":
        return values[0]
    if task.select_on == "worst":
        return min(known) if task.selects_highest else max(known)
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
