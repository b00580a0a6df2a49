"""Scores, computed with torchmetrics on gathered predictions, so that every sample counts exactly once."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torchmetrics.functional import classification as tm

from u2a.recipe import TaskSection


def probabilities(logits_NC: Tensor, task: TaskSection) -> Tensor:
    """Class probabilities, float32: softmax, or a sigmoid a class for multi-label tasks."""
    logits = logits_NC.float()
    return logits.softmax(1) if task.kind == "single_label" else logits.sigmoid()


def scores(logits_NC: Tensor, target: Tensor, task: TaskSection) -> dict[str, float]:
    """All of a task's metrics, each in 0..1.

    Single-label: accuracy, macro F1 and mean average precision (one class against the rest).
    Multi-label: macro F1, micro F1 (sigmoid, threshold 0.5) and mean average precision.
    Classes that neither occur nor are predicted do not enter a macro F1, as torchmetrics defines it.
    """
    if not len(target):
        return {name: float("nan") for name in metric_names(task)}
    p_NC, C = probabilities(logits_NC, task), len(task.classes)
    if task.kind == "single_label":
        values = {
            "accuracy": tm.multiclass_accuracy(p_NC, target, C, average="micro"),
            "f1_macro": tm.multiclass_f1_score(p_NC, target, C, average="macro"),
            "map": _mean(
                tm.multiclass_average_precision(p_NC, target, C, average="none"), target.bincount(minlength=C)
            ),
        }
    else:
        truth_NC = target.long()
        values = {
            "f1_macro": tm.multilabel_f1_score(p_NC, truth_NC, C, average="macro"),
            "f1_micro": tm.multilabel_f1_score(p_NC, truth_NC, C, average="micro"),
            "map": _mean(_average_precision(p_NC, truth_NC), truth_NC.sum(0)),
        }
    return {name: float(value) for name, value in values.items()}


def metric_names(task: TaskSection) -> tuple[str, ...]:
    """The names `scores` returns, the headline metric first."""
    names = ("accuracy", "f1_macro", "map") if task.kind == "single_label" else ("f1_macro", "f1_micro", "map")
    headline = task.headline if task.headline in names else names[0]
    return (headline, *(name for name in names if name != headline))


def _average_precision(p_NC: Tensor, truth_NC: Tensor) -> Tensor:
    """By label; torchmetrics warns of labels without a sample, which `_mean` leaves out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No positive samples found")
        return tm.multilabel_average_precision(p_NC, truth_NC, p_NC.shape[1], average="none")


def _mean(average_precision_C: Tensor, support_C: Tensor) -> Tensor:
    """The mean over classes that occur; average precision is undefined for the others."""
    occurs_C = support_C > 0
    return average_precision_C[occurs_C].mean() if occurs_C.any() else torch.tensor(float("nan"))
