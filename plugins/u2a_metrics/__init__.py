"""The metrics that come with u2a, registered as any plugin's; computed with torchmetrics on all samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import u2a

if TYPE_CHECKING:
    from torch import Tensor

    from u2a.contract.extensions import TaskKind


@u2a.hookimpl
def u2a_register_metrics(register: Callable[[u2a.MetricSpec], None]) -> None:
    """Accuracy, macro and micro F1, mean average precision."""
    one: tuple[TaskKind, ...] = ("single_label",)
    many: tuple[TaskKind, ...] = ("multi_label",)
    register(
        u2a.MetricSpec(
            "accuracy",
            one,
            _accuracy,
            help="share of the samples that are right",
            form="hits",
            headline_of=one,
        )
    )
    register(
        u2a.MetricSpec(
            "f1_macro",
            one + many,
            _f1_macro,
            help="F1 of each class that occurs, averaged over classes",
            label="macro F1",
            form="class_f1",
            headline_of=many,
        )
    )
    register(
        u2a.MetricSpec(
            "f1_micro",
            many,
            _f1_micro,
            help="F1 of all decisions of all classes at once",
            label="micro F1",
            form="pooled_f1",
        )
    )
    register(
        u2a.MetricSpec(
            "map",
            one + many,
            _map,
            help="average precision of each class that occurs, averaged over classes",
            label="mean average precision",
            form="class_precision",
            selects_for=many,  # thresholds are fitted after training: F1 at 0.5 says little of a checkpoint
        )
    )


def _accuracy(p_NC: Tensor, target: Tensor, n_classes: int) -> float:
    from u2a_metrics.compute import accuracy

    return accuracy(p_NC, target)


def _f1_macro(p_NC: Tensor, target: Tensor, n_classes: int) -> float:
    from u2a_metrics.compute import f1

    return f1(p_NC, target, "macro")


def _f1_micro(p_NC: Tensor, target: Tensor, n_classes: int) -> float:
    from u2a_metrics.compute import f1

    return f1(p_NC, target, "micro")


def _map(p_NC: Tensor, target: Tensor, n_classes: int) -> float:
    from u2a_metrics.compute import mean_average_precision

    return mean_average_precision(p_NC, target)
