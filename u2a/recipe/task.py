"""``[task]``: what is predicted, and how it is scored."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from u2a.common.values import nfc
from u2a.contract.extensions import MetricSpec
from u2a.errors import PluginError
from u2a.plugins.registry import Shelf
from u2a.recipe.section import PluginSection, plugins_of


def _unique(classes: tuple[str, ...]) -> tuple[str, ...]:
    if odd := [name for name in classes if name.strip() != name or not name]:
        raise ValueError(f"class {odd[0]!r} is empty, or has white space around it, which labels lose")
    twice = sorted(name for name, count in Counter(map(nfc, classes)).items() if count > 1)
    if twice:
        forms = sorted({ascii(name) for name in classes if nfc(name) == twice[0]})
        how = f" ({', '.join(forms)})" if len(forms) > 1 else ""
        raise ValueError(f"class {twice[0]!r} is named twice{how}")
    return classes


class TaskSection(PluginSection):
    """What is predicted, and how it is scored."""

    kind: Literal["single_label", "multi_label"] = Field(
        "single_label", description="cross entropy over the classes, or binary cross entropy for each of them"
    )
    classes: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(_unique)] = Field(
        description="the labels' names, in the order of the head's outputs"
    )
    metric: str | None = Field(
        None,
        description="the headline score: a metric of `u2a plugins list` that fits the kind; "
        "the one that heads the kind (accuracy; f1_macro for multi_label) if left out",
    )

    class_weights: Literal["balanced"] | None = Field(
        None,
        description="balanced: in the task loss a sample of a rare class counts more (N / (C n_c); in "
        "multi_label tasks N / (2 n) for having a label, and for lacking it); all alike if left out",
    )

    select_on: Literal["mean", "complete", "worst"] = Field(
        "mean",
        description="what picks the best checkpoint: the mean or the worst of the complete pattern and each "
        "modality missing, or the complete pattern alone",
    )
    select_by: Literal["loss", "metric"] | None = Field(
        None,
        description="by what: the loss at its best temperature (few samples suffice to tell losses apart; "
        "a later one within two standard errors of the lowest is kept, unless the head start's is lower) "
        "or the metric; if left out the loss where neither a metric is named nor one selects for the kind",
    )

    @property
    def metrics(self) -> Shelf[MetricSpec]:
        """The installed metrics."""
        return self.plugins.metrics

    @property
    def headline(self) -> str:
        """The metric that heads every report."""
        return self.metric or next(iter(_with_part(self.metrics, "headline_of", self.kind)))

    @property
    def selection_metric(self) -> str:
        """The metric that picks the best checkpoint, unless the loss does."""
        return self.metric or next(iter(_with_part(self.metrics, "selects_for", self.kind)), self.headline)

    @property
    def selects_by_loss(self) -> bool:
        """Whether the loss picks the best checkpoint, rather than `selection_metric`."""
        if self.select_by is not None:
            return self.select_by == "loss"
        return self.metric is None and not _with_part(self.metrics, "selects_for", self.kind)

    @property
    def selected_by(self) -> str:
        """``loss``, or the metric that picks the best checkpoint."""
        return "loss" if self.selects_by_loss else self.selection_metric

    @property
    def selects_highest(self) -> bool:
        """Whether the best checkpoint has the highest of what it is picked by."""
        return not self.selects_by_loss and self.spec(self.selection_metric).higher_is_better

    def spec(self, metric: str | None = None) -> MetricSpec:
        """A metric of `metrics`, the headline if None."""
        return self.metrics.specs[metric or self.headline]

    @field_validator("metric")
    @classmethod
    def _metric_fits(cls, metric: str | None, info: ValidationInfo) -> str | None:
        metrics, kind = plugins_of(info.context).metrics, info.data.get("kind")
        if metric is None:
            if kind and not _with_part(metrics, "headline_of", kind):
                raise ValueError(f"no installed plugin brings one that heads kind = {kind}; name one")
            return None
        try:
            found = metrics.find(metric, (info.context or {}).get("owners", {}).get(f"metric:{metric}"))
        except PluginError as error:
            raise ValueError(str(error)) from None
        if found is None:
            raise ValueError(metrics.unknown(metric))
        if kind and kind not in metrics.specs[found].task_kinds:
            fitting = sorted(name for name, spec in metrics.specs.items() if kind in spec.task_kinds)
            raise ValueError(f"metric {found} does not fit kind = {kind}; these do: {', '.join(fitting)}")
        return found


def _with_part(metrics: Shelf[MetricSpec], part: str, kind: str) -> list[str]:
    """The metrics that have a part in tasks of that kind where the recipe names none, in their order."""
    return [name for name, spec in metrics.specs.items() if kind in getattr(spec, part)]
