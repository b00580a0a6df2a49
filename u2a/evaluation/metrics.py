"""Scores of gathered predictions by the installed metrics, so that every sample counts exactly once."""

from __future__ import annotations

from math import nan

from torch import Tensor

from u2a.common.terminal import console
from u2a.errors import PluginError
from u2a.plugins.loading import registry
from u2a.recipe.sections import TaskSection


def probabilities(logits_NC: Tensor, task: TaskSection) -> Tensor:
    """Class probabilities, float32: softmax, or a sigmoid a class for multi-label tasks."""
    logits = logits_NC.float()
    return logits.softmax(1) if task.kind == "single_label" else logits.sigmoid()


def scores(logits_NC: Tensor, target: Tensor, task: TaskSection) -> dict[str, float]:
    """All metrics that fit the task, the headline metric first.

    The shipped ones are in 0..1. Single-label: accuracy, macro F1 and mean average precision (one class
    against the rest). Multi-label: macro F1, micro F1 (sigmoid, threshold 0.5) and mean average precision.

    Raises:
        PluginError: the headline metric failed; another that fails is NaN, and said so once.
    """
    names = metric_names(task)
    if not len(target):
        return dict.fromkeys(names, nan)
    p_NC = probabilities(logits_NC, task)
    values = {names[0]: compute_metric(names[0], p_NC, target)}
    return values | {name: _value_or_nan(name, p_NC, target) for name in names[1:]}


def metric_names(task: TaskSection) -> tuple[str, ...]:
    """The names `scores` returns: the headline metric, then the others that fit, shipped ones first."""
    names = [name for name, spec in registry().metrics.specs.items() if task.kind in spec.task_kinds]
    return (task.headline, *(name for name in names if name != task.headline))


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric is the better one."""
    return registry().metrics.specs[name].higher_is_better


def compute_metric(name: str, p_NC: Tensor, target: Tensor) -> float:
    """One metric of at least one sample.

    Args:
        target: ``[N]`` class numbers, or ``[N, C]`` of 0 and 1; any type.

    Raises:
        PluginError: no such metric, or what the plugin's code raised, with the plugin named.
    """
    metrics = registry().metrics
    if name not in metrics.specs:
        raise PluginError(metrics.unknown(name))
    try:
        return float(metrics.specs[name].compute(p_NC, target.long(), p_NC.shape[1]))
    except Exception as error:  # a stranger's code: anything can come out of it
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(f"{metrics.describe(name)} failed: {reason}") from error


def _value_or_nan(name: str, p_NC: Tensor, target: Tensor) -> float:
    try:
        return compute_metric(name, p_NC, target)
    except PluginError as error:
        if name not in _told:
            _told.add(name)
            console.print(f"{error}; it is NaN", markup=False, highlight=False, soft_wrap=True)
        return nan


_told: set[str] = set()
