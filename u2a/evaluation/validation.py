"""What a validation says of a model: scores, the one number that picks the best checkpoint, and its
calibration.

One encoding pays for all: every availability pattern is a pass of the head. Shape suffixes: N samples, C
classes, P patterns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from u2a.evaluation.calibration import Calibration
from u2a.evaluation.calibration_fit import fit_calibration, tempered_losses
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
        losses_N: what each sample, or those that share a file or a group, add to `selected`, if a loss.
    """

    scores: dict[str, float]
    selected: float
    calibration: Calibration
    losses_N: Tensor | None = None


def judge(model: U2A, encoded: Encoded, task: TaskSection) -> Validation:
    """Validate on an encoded split."""
    scorer = Scorer(model, encoded, task)
    whole = scorer.drop().scores
    left = _left(encoded.present_NM)
    found = fit_calibration(model.names, pattern_logits(model, encoded), task.kind)
    if not task.selects_by_loss:
        values_P = np.array([scorer.keep(present_NM).scores[task.selection_metric] for present_NM in left])
        return Validation(whole, float(values_P[_counted(values_P, task)].mean()), found)
    losses_PN = np.stack([_losses(model, encoded, present_NM, task) for present_NM in left])
    losses_N = losses_PN[_counted(losses_PN.sum(1), task)].mean(0)
    return Validation(whole, float(losses_N.sum()), found, torch.from_numpy(losses_N))


def _left(present_NM: Tensor) -> list[Tensor]:
    """The data as it is, and what each modality missing leaves of it, where that is anything."""
    each = torch.eye(present_NM.shape[1], dtype=torch.bool)
    return [left_NM for left_NM in (present_NM, *(present_NM & ~gone_M for gone_M in each)) if left_NM.any()]


def _losses(model: U2A, encoded: Encoded, present_NM: Tensor, task: TaskSection) -> np.ndarray:
    """What each sample (N) adds to the mean loss of those that have anything left."""
    usable_N = present_NM.any(1).numpy()
    logits_NC = classify(model, encoded, present_NM)[usable_N]
    losses_N = np.zeros(len(usable_N))
    losses_N[usable_N] = tempered_losses(logits_NC.numpy(), encoded.target[usable_N].numpy(), task.kind)
    return losses_N / usable_N.sum()


def _counted(values_P: np.ndarray, task: TaskSection) -> np.ndarray:
    """The patterns whose mean picks, of the data as it is and each modality missing."""
    known = np.flatnonzero(~np.isnan(values_P))
    if not len(known) or task.select_on == "complete":
        return np.array([0])
    if task.select_on == "worst":
        return known[[values_P[known].argmin() if task.selects_highest else values_P[known].argmax()]]
    return known


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
