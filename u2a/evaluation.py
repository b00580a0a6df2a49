"""Evaluation: encode each present modality once, then score any availability pattern from that encoding.

Encoders see one modality each, so dropping a modality changes token selection and nothing before it; a
scenario costs one pass of the head. Shape suffixes: N samples, M modalities in recipe order, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from u2a.data.batches import Batch, Collator, Samples, make_loader, reading, unwrap
from u2a.data.plan import EvaluationBatches
from u2a.data.split import Split
from u2a.distributed import World, fail_together, gather_rows
from u2a.errors import U2AError
from u2a.metrics import scores
from u2a.modality import Preprocessor
from u2a.model import U2A
from u2a.recipe import Recipe, TaskSection

BATCH_SIZE = 32


@dataclass(frozen=True)
class Encoded:
    """A split after the encoders: all that any scenario needs, on the CPU in float32.

    Attributes:
        cls_NMD: class tokens, zeros where absent.
        mask_NMMD: mask tokens, ``[:, i, j]`` i's token for target j, zeros where i is absent; where one token
            serves all targets, it is stored once and this is a view of it.
        present_NM: bool, presence in the data.
        target: ``[N]`` long or ``[N, C]`` float.
        place_N: long, places in the split, ascending.
    """

    cls_NMD: Tensor
    mask_NMMD: Tensor
    present_NM: Tensor
    target: Tensor
    place_N: Tensor


def encode_split(
    model: U2A,
    split: Split,
    preprocessors: Mapping[str, Preprocessor],
    task: TaskSection,
    place: World,
    *,
    places: np.ndarray | None = None,
    workers: int = 0,
    on_batch: Callable[[int], None] = lambda n: None,
) -> Encoded:
    """One pass of the encoders over (part of) a split; every sample exactly once over all processes.

    Args:
        places: places in the split to encode; all if None.
        on_batch: called with the number of samples done, for progress.

    Raises:
        U2AError: bad data; on all processes, whichever met it.
    """
    columns = encode_columns(
        model, split, preprocessors, task, place, _selected, places=places, workers=workers, on_batch=on_batch
    )
    cls_NMD, mask_NMTD, *others = (column.cpu() for column in columns)
    return Encoded(cls_NMD, mask_NMTD.expand(-1, -1, len(model.names), -1), *others)


def _selected(model: U2A, batch: Batch) -> tuple[Tensor, ...]:
    cls_BMD, mask_BMMD = model.encode(batch.inputs, batch.present_BM)
    return cls_BMD, mask_BMMD[:, :, : model.distinct_targets].clone()


def encode_columns(
    model: U2A,
    split: Split,
    preprocessors: Mapping[str, Preprocessor],
    task: TaskSection,
    place: World,
    columns: Callable[[U2A, Batch], tuple[Tensor, ...]],
    *,
    places: np.ndarray | None = None,
    workers: int = 0,
    on_batch: Callable[[int], None] = lambda n: None,
) -> list[Tensor]:
    """One pass over (part of) a split: the columns that `columns` makes of a batch, then presence, target, place.

    Rows stand in the order of their places, all of them on every process, on the device (one process: the CPU).
    """
    wanted = np.arange(len(split)) if places is None else places
    batches = EvaluationBatches(wanted, split.present_NM, BATCH_SIZE, place.rank, place.size)
    collate = Collator(preprocessors, len(task.classes), multi_label=task.kind == "multi_label")
    loader = make_loader(Samples(split, preprocessors, train=False), batches, collate, workers=workers)
    parts, error = [], None
    try:
        with reading(loader) as read:
            parts = _encode_batches(model, map(unwrap, read), place, columns, on_batch)
    except U2AError as met:
        error = met
    fail_together(error, place)
    joined = [gather_rows(column, place) for column in _join(parts, model, task, place, columns)]
    order = joined[-1].argsort()
    if not torch.equal(joined[-1][order].cpu(), torch.from_numpy(np.sort(wanted))):
        raise RuntimeError("evaluation did not see every sample exactly once")
    return [column[order] for column in joined]


def _encode_batches(
    model: U2A,
    batches: Iterable[Batch],
    place: World,
    columns: Callable[[U2A, Batch], tuple[Tensor, ...]],
    on_batch: Callable[[int], None],
) -> list[tuple[Tensor, ...]]:
    """The columns of each batch, where they are wanted next: processes exchange them on their devices."""
    was_training = model.training
    store = place.device if place.size > 1 else torch.device("cpu")
    parts: list[tuple[Tensor, ...]] = []
    model.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                made = columns(model, batch.to(place.device))
                rows = *made, batch.present_BM, batch.target, batch.index_B
                parts.append(tuple(column.to(store) for column in rows))
                on_batch(len(batch.keys))
    finally:
        model.train(was_training)
    return parts


def _join(
    parts: Sequence[tuple[Tensor, ...]],
    model: U2A,
    task: TaskSection,
    place: World,
    columns: Callable[[U2A, Batch], tuple[Tensor, ...]],
) -> list[Tensor]:
    """Columns of all batches; a process without samples still needs columns of the right sizes."""
    if parts:
        return [torch.cat(column) for column in zip(*parts, strict=True)]
    none = torch.zeros(0, dtype=torch.long)
    multi = task.kind == "multi_label"
    empty = Batch(
        {},
        torch.zeros(0, len(model.names), dtype=torch.bool),
        torch.zeros(0, len(task.classes)) if multi else none,
        (),
        none,
    ).to(place.device)
    with torch.inference_mode():
        made = columns(model, empty)
    return [*made, empty.present_BM, empty.target, empty.index_B]


def classify(model: U2A, encoded: Encoded, present_NM: Tensor) -> Tensor:
    """Logits of every sample with the given presence (a subset of the data's own): ``logits_NC``, CPU."""
    device = model.device
    with torch.inference_mode():
        chunks = [
            model.classify(cls.to(device), mask.to(device), present.to(device)).cpu()
            for cls, mask, present in zip(
                encoded.cls_NMD.split(1024),
                encoded.mask_NMMD.split(1024),
                present_NM.split(1024),
                strict=True,
            )
        ]
    return torch.cat(chunks) if chunks else torch.empty(0, model.n_classes)


@dataclass(frozen=True)
class Scenario:
    """One evaluated availability pattern beside the complete data, both on the same samples.

    Attributes:
        dropped: modalities taken away on top of what the data lacks.
        n: samples scored; n_empty: samples left out because the pattern would empty them.
        scores, complete: metric names to values in 0..1.
        kept: modalities that only a share of the samples keeps, with that share.
    """

    dropped: tuple[str, ...]
    n: int
    n_empty: int
    scores: dict[str, float]
    complete: dict[str, float]
    kept: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {"dropped": list(self.dropped), "kept": dict(self.kept)}
        return {**plain, **{k: v for k, v in vars(self).items() if k not in plain}}


class Scorer:
    """Scores availability patterns of one encoding; what the patterns share is computed once."""

    def __init__(self, model: U2A, encoded: Encoded, task: TaskSection) -> None:
        self.model, self.encoded, self.task = model, encoded, task
        self.complete_NC = classify(model, encoded, encoded.present_NM)
        self._complete: dict[bytes, dict[str, float]] = {}

    def drop(self, dropped: Sequence[str] = ()) -> Scenario:
        """Score a drop pattern.

        Raises:
            U2AError: a name that is no modality of the model, or nothing would remain.
        """
        check_dropped(self.model.names, dropped)
        kept_M = torch.tensor([name not in dropped for name in self.model.names])
        return self.keep(kept_M.expand_as(self.encoded.present_NM), dropped)

    def keep(
        self, kept_NM: Tensor, dropped: Sequence[str] = (), shares: Mapping[str, float] | None = None
    ) -> Scenario:
        """Score any pattern, given as what each sample may keep (bool); `dropped` and `shares` describe it.

        Raises:
            U2AError: nothing would remain of any sample.
        """
        remaining_NM = self.encoded.present_NM & kept_NM
        usable_N = remaining_NM.any(1)
        if not usable_N.any():
            without = ", ".join(dropped) or "what is not kept"
            raise U2AError(f"without {without} no sample has any modality left")
        complete = self._scores_of_complete(usable_N)
        reduced = complete
        if not torch.equal(remaining_NM, self.encoded.present_NM):
            logits_NC = classify(self.model, self.encoded, remaining_NM)
            reduced = scores(logits_NC[usable_N], self.encoded.target[usable_N], self.task)
        n = int(usable_N.sum())
        return Scenario(tuple(dropped), n, len(usable_N) - n, reduced, complete, dict(shares or {}))

    def _scores_of_complete(self, usable_N: Tensor) -> dict[str, float]:
        key = usable_N.numpy().tobytes()
        if key not in self._complete:
            self._complete[key] = scores(self.complete_NC[usable_N], self.encoded.target[usable_N], self.task)
        return self._complete[key]


def score_scenario(model: U2A, encoded: Encoded, task: TaskSection, dropped: Sequence[str] = ()) -> Scenario:
    """`Scorer.drop` for a single pattern."""
    return Scorer(model, encoded, task).drop(dropped)


def check_dropped(names: Sequence[str], dropped: Sequence[str]) -> None:
    """Refuse modalities that the recipe does not have, and dropping them all."""
    if unknown := [name for name in dropped if name not in names]:
        raise U2AError(f"--drop {unknown[0]}: no such modality; this run has {', '.join(names)}")
    if set(dropped) >= set(names):
        raise U2AError(f"--drop {','.join(dropped)}: at least one of {', '.join(names)} must remain")


def evaluation_split(recipe: Recipe, split: str) -> Split:
    """Open a labelled split of a recipe's data, with the presence that ``data.missing`` leaves."""
    from u2a.data.missing import apply_missing
    from u2a.data.opening import open_recipe_split

    return apply_missing(open_recipe_split(recipe, split), recipe)
