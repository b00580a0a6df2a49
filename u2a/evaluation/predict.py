"""Prediction on files and values that are in no shard, with any subset of a run's modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from u2a.common.distributed import World
from u2a.contract.modality import Example, Preprocessor
from u2a.data.feeding.batches import Batch, Collator, Sample, unwrap
from u2a.errors import U2AError
from u2a.evaluation.calibration import Calibration, pattern_name
from u2a.evaluation.reading import SampleReader
from u2a.evaluation.shown import table
from u2a.method.finite import refuse_non_finite
from u2a.method.model import U2A
from u2a.recipe.sections import Recipe


@dataclass(frozen=True)
class Prediction:
    """What the model says of one sample.

    Attributes:
        labels: the most probable class, or, for a multi-label task, every class that reaches its threshold
            (fitted on validation data for this availability pattern; 0.5 without such data).
        probabilities: class name to probability (calibrated likewise), the most probable first.
        used: the modalities that were given.
        filled: those that were stood in for.
        set: the prediction set, if a coverage was asked for: it holds the true class with that probability
            (multi-label: lacks at most the remaining share of the labels, in expectation). It may be empty.
        set_from: the group of validation patterns that the set's promise rests on; ``none`` = too few samples,
            so that every class is in the set.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    used: tuple[str, ...]
    filled: tuple[str, ...]
    set: tuple[str, ...] | None = None
    set_from: str | None = None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {p:.1%}" for name, p in list(self.probabilities.items())[:3])
        filled = f"; filled in {', '.join(self.filled)}" if self.filled else ""
        return (
            f"Prediction({', '.join(self.labels) or 'no label'}: {shown}; used {', '.join(self.used)}{filled})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{p:.1%}", "*" if name in self.labels else "") for name, p in self.probabilities.items()
        ]
        filled = f"; filled in {', '.join(self.filled)}" if self.filled else ""
        return table(("class", "probability", ""), rows[:10], f"used {', '.join(self.used)}{filled}")

    def as_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values for JSON, with the `top` most probable classes."""
        ranked = dict(list(self.probabilities.items())[:top])
        promised = {} if self.set is None else {"set": list(self.set), "set_from": self.set_from}
        return {
            "labels": list(self.labels),
            "probabilities": {name: round(p, 6) for name, p in ranked.items()},
            "used": list(self.used),
            "filled": list(self.filled),
            **promised,
        }


class Predictor:
    """Reads a sample's values, runs the network, names the classes."""

    def __init__(
        self,
        network: U2A,
        recipe: Recipe,
        preprocessors: Mapping[str, Preprocessor],
        place: World,
        calibration: Calibration | None = None,
    ) -> None:
        self.network, self.recipe, self.preprocessors, self.place = network, recipe, preprocessors, place
        task = recipe.task
        self.calibration = calibration or Calibration(task.kind)
        self._reader = SampleReader(recipe, preprocessors)
        self.collate = Collator(preprocessors, len(task.classes), multi_label=task.kind == "multi_label")

    def read(self, values: Mapping[str, Any]) -> dict[str, Example]:
        """One sample's values, preprocessed: see `SampleReader.read`."""
        return self._reader.read(values)

    def predict(
        self,
        examples: Sequence[Mapping[str, Example]],
        coverage: float | Sequence[float | None] | None = None,
    ) -> list[Prediction]:
        """Predictions for samples that `read` made; their presence may differ.

        Args:
            coverage: of all, or a list of each sample's.

        Raises:
            U2AError: a coverage outside 0..1, or one that no validation data backs.
        """
        of_each = coverage if isinstance(coverage, Sequence) else [coverage] * len(examples)
        for wanted in set(coverage if isinstance(coverage, Sequence) else [coverage]):
            self.check_coverage(wanted)
        if not examples:
            return []
        batch = self.batch(examples)
        with torch.inference_mode():
            logits_BC = self.network(batch.inputs, batch.present_BM).logits_BC
            refuse_non_finite([logits_BC], self.network, batch.inputs, batch.present_BM, batch.keys)
        logits, present = logits_BC.float().cpu().numpy(), batch.present_BM.tolist()
        rows = zip(logits, present, of_each, strict=True)
        return [self._name(row, there, wanted) for row, there, wanted in rows]

    def embed(self, examples: Sequence[Mapping[str, Example]]) -> np.ndarray:
        """The fused vectors of at least one sample that `read` made, float32 ``[B, F]``."""
        batch = self.batch(examples)
        with torch.inference_mode():
            tokens = self.network.encode(batch.inputs, batch.present_BM)
            fused_BF = self.network.fuse(*tokens, batch.present_BM)
            refuse_non_finite([fused_BF], self.network, batch.inputs, batch.present_BM, batch.keys)
        return fused_BF.float().cpu().numpy()

    def batch(self, examples: Sequence[Mapping[str, Example]]) -> Batch:
        """Samples that `read` made, collated, on the device."""
        names = self.network.names
        samples = [
            Sample(i, str(i), example, tuple(name in example for name in names))
            for i, example in enumerate(examples)
        ]
        return unwrap(self.collate(samples)).to(self.place.device)

    def check_coverage(self, coverage: float | None) -> None:
        """Whether prediction sets can promise a coverage; None = none are wanted.

        Raises:
            U2AError: outside 0..1, or no validation data backs it.
        """
        if coverage is None:
            return
        if not 0 < coverage < 1:
            raise U2AError(f"coverage {coverage}: must lie between 0 and 1, e.g. 0.9")
        if not self.calibration.patterns:
            raise U2AError(
                "coverage: this run has no calibration; prediction sets need a val split or data.holdout "
                "in training"
            )

    def _name(self, logits_C: np.ndarray, present: Sequence[bool], coverage: float | None) -> Prediction:
        names, classes = self.network.names, self.recipe.task.classes
        pattern, M = pattern_name(names, present), len(names)
        p_C = self.calibration.probabilities(logits_C[None], pattern, M)[0]
        ranked = {classes[c]: float(p_C[c]) for c in np.argsort(-p_C, kind="stable")}
        if self.recipe.task.kind == "single_label":
            labels = (next(iter(ranked)),)
        else:
            cuts = dict(zip(classes, self.calibration.thresholds(pattern, M, len(classes)), strict=True))
            labels = tuple(name for name, p in ranked.items() if p >= cuts[name])
        chosen, group = None, None
        if coverage is not None:
            cut, group = self.calibration.cut(pattern, M, coverage)
            chosen = tuple(name for name, p in ranked.items() if p >= cut)
        return Prediction(
            labels,
            ranked,
            tuple(name for name, there in zip(names, present, strict=True) if there),
            tuple(name for name, there in zip(names, present, strict=True) if not there),
            chosen,
            group,
        )
