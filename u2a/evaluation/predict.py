"""Prediction on files and values that are in no shard, with any subset of a run's modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from u2a.common.distributed import World
from u2a.contract.blame import blame
from u2a.contract.modality import Example, Preprocessor
from u2a.data.feeding.batches import Collator, Sample, unwrap
from u2a.errors import BadSample, U2AError
from u2a.evaluation.metrics import probabilities
from u2a.method.model import U2A
from u2a.plugins.loading import registry
from u2a.recipe.sections import Recipe


@dataclass(frozen=True)
class Prediction:
    """What the model says of one sample.

    Attributes:
        labels: the most probable class, or every class at 0.5 or more for a multi-label task.
        probabilities: class name to probability, the most probable first.
        used: the modalities that were given; filled: those that mask tokens stood in for.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    used: tuple[str, ...]
    filled: tuple[str, ...]

    def as_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain values for JSON, with the `top` most probable classes."""
        ranked = dict(list(self.probabilities.items())[:top])
        return {
            "labels": list(self.labels),
            "probabilities": {name: round(p, 6) for name, p in ranked.items()},
            "used": list(self.used),
            "filled": list(self.filled),
        }


class Predictor:
    """Reads a sample's values, runs the network, names the classes."""

    def __init__(
        self, network: U2A, recipe: Recipe, preprocessors: Mapping[str, Preprocessor], place: World
    ) -> None:
        self.network, self.recipe, self.preprocessors, self.place = network, recipe, preprocessors, place
        task = recipe.task
        self.collate = Collator(preprocessors, len(task.classes), multi_label=task.kind == "multi_label")

    def read(self, values: Mapping[str, Any]) -> dict[str, Example]:
        """One sample's values (paths, bytes, arrays, text), preprocessed.

        Raises:
            U2AError: an unknown modality, none at all, an unreadable file or value; it is named.
        """
        if unknown := [name for name in values if name not in self.preprocessors]:
            raise U2AError(f"{unknown[0]}: no such modality; this run has {', '.join(self.preprocessors)}")
        given = {name: value for name, value in values.items() if value is not None}
        if not given:
            raise U2AError(f"give at least one of {', '.join(self.preprocessors)}")
        return {name: self._example(name, value) for name, value in given.items()}

    def _example(self, name: str, value: Any) -> Example:
        where = f"{name} ({value})" if isinstance(value, str | Path) else name
        try:
            return self.preprocessors[name](self._member(name, value), train=False, seed=0)
        except BadSample as error:
            raise BadSample(f"{_short(where)}: {error}") from error

    def _member(self, name: str, value: Any) -> bytes:
        spec = registry().spec(self.recipe.modalities[name].kind)
        inline_text = isinstance(value, str) and "txt" in spec.extensions
        if isinstance(value, bytes):
            return value
        if isinstance(value, str | Path) and not inline_text:
            return _read_file(name, Path(value))
        if spec.to_member is None:
            raise U2AError(f"{name}: give a path or bytes; its plugin takes no {type(value).__name__}")
        owner = registry().owners[self.recipe.modalities[name].kind]
        with blame(name, owner, "to_member"):
            try:
                return spec.to_member(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise BadSample(f"{name}: {error}") from error

    def predict(self, examples: Sequence[Mapping[str, Example]]) -> list[Prediction]:
        """Predictions for samples that `read` made; their presence may differ."""
        if not examples:
            return []
        names = self.network.names
        samples = [
            Sample(i, str(i), example, tuple(name in example for name in names))
            for i, example in enumerate(examples)
        ]
        moved = unwrap(self.collate(samples)).to(self.place.device)
        with torch.inference_mode():
            logits_BC = self.network(moved.inputs, moved.present_BM).logits_BC
        p_BC = probabilities(logits_BC, self.recipe.task).cpu()
        return [self._name(p_C, sample.present) for p_C, sample in zip(p_BC, samples, strict=True)]

    def _name(self, p_C: Tensor, present: Sequence[bool]) -> Prediction:
        classes = self.recipe.task.classes
        ranked = {classes[c]: float(p_C[c]) for c in p_C.argsort(descending=True, stable=True).tolist()}
        if self.recipe.task.kind == "single_label":
            labels = (next(iter(ranked)),)
        else:
            labels = tuple(name for name, p in ranked.items() if p >= 0.5)
        names = self.network.names
        return Prediction(
            labels,
            ranked,
            tuple(name for name, there in zip(names, present, strict=True) if there),
            tuple(name for name, there in zip(names, present, strict=True) if not there),
        )


def _read_file(name: str, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise U2AError(f"{name}: {path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise U2AError(f"{name}: {path}: cannot be read: {getattr(error, 'strerror', error)}") from None
    if not content:
        raise BadSample(f"{name}: {path}: is empty")
    return content


def _short(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
