"""torchmetrics as u2a uses it. Targets are ``[N]`` class numbers or ``[N, C]`` of 0 and 1, all long."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchmetrics.functional import classification as tm

from u2a.contract.extensions import THRESHOLD


def accuracy(p_NC: Tensor, target_N: Tensor) -> float:
    """Share of samples whose most probable class is the true one."""
    return float(tm.multiclass_accuracy(p_NC, target_N, p_NC.shape[1], average="micro"))


def f1(p_NC: Tensor, target: Tensor, average: Literal["macro", "micro"]) -> float:
    """F1 of the most probable class, or of the classes at 0.5 or more, as in `u2a predict`, for multi-label.

    Macro: the mean over the classes that occur, as for average precision; NaN where none does.
    """
    single = target.ndim == 1
    score = tm.multiclass_f1_score if single else tm.multilabel_f1_score
    guess = p_NC if single else (p_NC >= THRESHOLD).long()
    if average == "micro":
        return float(score(guess, target, p_NC.shape[1], average="micro"))
    occurs_C = _truth(p_NC, target).any(0)
    values_C = score(guess, target, p_NC.shape[1], average="none")
    return float(values_C[occurs_C].mean())


def mean_average_precision(p_NC: Tensor, target: Tensor) -> float:
    """Mean over the classes that occur, one class against the rest; it is undefined for the others."""
    truth_NC = _truth(p_NC, target)
    occurs = truth_NC.any(0).nonzero().flatten().tolist()
    if not occurs:
        return float("nan")
    values = [tm.binary_average_precision(p_NC[:, c], truth_NC[:, c]) for c in occurs]
    return float(torch.stack(values).mean())


def _truth(p_NC: Tensor, target: Tensor) -> Tensor:
    return target if target.ndim == 2 else torch.nn.functional.one_hot(target, p_NC.shape[1])
