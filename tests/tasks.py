"""Tasks by themselves, with the installed metrics."""

from __future__ import annotations

from collections.abc import Iterable

from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.recipe.task import TaskSection


def make_task(
    kind: str = "single_label",
    classes: Iterable[str] = "abcde",
    metric: str | None = None,
    plugins: Registry | None = None,
) -> TaskSection:
    """A task of classes of one letter each."""
    document = {"kind": kind, "classes": tuple(classes), "metric": metric}
    return TaskSection.model_validate(document, context={"plugins": plugins or registry()})
