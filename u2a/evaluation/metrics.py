"""Scores of gathered predictions by the installed metrics, so that every sample counts exactly once."""

from __future__ import annotations

from math import isnan, nan

from torch import Tensor

from u2a.common.terminal import console
from u2a.contract.blame import reason_of
from u2a.errors import PluginError
from u2a.plugins.guard import put_back
from u2a.recipe.task import TaskSection

#: By how much a mean of float32 may leave 0..1.
ROUNDING = 1e-5


def probabilities(logits_NC: Tensor, task: TaskSection) -> Tensor:
    """Class probabilities, float32: softmax, or a sigmoid a class for multi-label tasks."""
    logits = logits_NC.float()
    return logits.softmax(1) if task.kind == "single_label" else logits.sigmoid()


def scores(logits_NC: Tensor, target: Tensor, task: TaskSection) -> dict[str, float]:
    """All metrics that fit the task, the headline metric first.

    All are in 0..1. Single-label: accuracy, macro F1 and mean average precision (one class
    against the rest). Multi-label: macro F1, micro F1 (sigmoid, threshold 0.5) and mean average precision.

    Raises:
        PluginError: the headline metric failed; another that fails is NaN, and said so once.
    """
    names = metric_names(task)
    if not len(target):
        return dict.fromkeys(names, nan)
    p_NC = probabilities(logits_NC, task)
    values = {names[0]: compute_metric(names[0], p_NC, target, task)}
    values |= {name: _value_or_nan(name, p_NC, target, task) for name in names[1:]}
    for name, value in values.items():
        if isnan(value):
            _tell(name, f"{task.metrics.describe(name)} is NaN on {len(target)} samples")
    return values


def metric_names(task: TaskSection) -> tuple[str, ...]:
    """The names `scores` returns: the headline metric, then the others that fit, shipped ones first."""
    names = [name for name, spec in task.metrics.specs.items() if task.kind in spec.task_kinds]
    return (task.headline, *(name for name in names if name != task.headline))


def compute_metric(name: str, p_NC: Tensor, target: Tensor, task: TaskSection) -> float:
    """One metric of at least one sample.

    Args:
        target: ``[N]`` class numbers, or ``[N, C]`` of 0 and 1; any type.

    Raises:
        PluginError: no such metric, or what the plugin's code raised, with the plugin named.
    """
    metrics = task.metrics
    if name not in metrics.specs:
        raise PluginError(metrics.unknown(name))
    spec, changed = metrics.specs[name], list[str]()
    try:
        with put_back(changed):  # it gets copies as well: a metric only measures
            value = _number(spec.compute(p_NC.clone(), target.long().clone(), p_NC.shape[1]))
    except (MemoryError, KeyboardInterrupt):
        raise  # the machine's fault, or the user's wish
    except BaseException as error:  # a stranger's code: anything can come out of it
        reason = reason_of(error)
        raise PluginError(f"{metrics.describe(name)} failed: {reason}") from error
    if changed:
        _tell(f"{name} changed", f"{metrics.describe(name)} changed {', '.join(changed)}; it was put back")
    if not (isnan(value) or -ROUNDING <= value <= 1 + ROUNDING):
        raise PluginError(f"{metrics.describe(name)} gave {value:g}; a metric is a number in 0..1")
    return value


def _number(value: object) -> float:
    if isinstance(value, str | bytes | bool) or value is None:
        raise TypeError(f"it gave {value!r}, not a number")
    return float(value.detach() if isinstance(value, Tensor) else value)  # type: ignore[arg-type]


def _value_or_nan(name: str, p_NC: Tensor, target: Tensor, task: TaskSection) -> float:
    try:
        return compute_metric(name, p_NC, target, task)
    except PluginError as error:
        _tell(name, f"{error}; it is NaN")
        return nan


def _tell(what: str, text: str) -> None:
    """Once in a process."""
    if what not in _told:
        _told.add(what)
        console.print(text, markup=False, highlight=False, soft_wrap=True)


_told: set[str] = set()
