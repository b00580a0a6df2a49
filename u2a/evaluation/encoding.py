"""One pass of the encoders over a split: all that any availability pattern needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from u2a.common.distributed import World, fail_together, gather_lists, gather_rows
from u2a.contract.modality import Preprocessor
from u2a.data.feeding.batches import Batch, Collator, Samples, make_loader, reading, unwrap
from u2a.data.feeding.lengths import expected_lengths, longest_first
from u2a.data.feeding.plan import EvaluationBatches
from u2a.data.feeding.unreadable import Unreadable
from u2a.data.reading.split import Split
from u2a.errors import U2AError
from u2a.method.finite import refuse_non_finite
from u2a.method.model import U2A
from u2a.recipe.task import TaskSection

BATCH_SIZE = 32


#: What is kept of a batch that is on its device: tensors of B rows.
Columns = Callable[[U2A, Batch], tuple[Tensor, ...]]


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
        keys: the N samples' keys.
        unreadable: further samples, left out since they cannot be read.
    """

    cls_NMD: Tensor
    mask_NMMD: Tensor
    present_NM: Tensor
    target: Tensor
    place_N: Tensor
    keys: tuple[str, ...]
    unreadable: tuple[Unreadable, ...] = ()


def encode_split(
    model: U2A,
    split: Split,
    preprocessors: Mapping[str, Preprocessor],
    task: TaskSection,
    place: World,
    *,
    places: np.ndarray | None = None,
    workers: int = 0,
    skip: bool = False,
) -> Encoded:
    """One pass of the encoders over (part of) a split; every sample exactly once over all processes.

    Args:
        places: places in the split to encode; all if None.
        skip: leave out samples that cannot be read, instead of failing with the first.

    Raises:
        U2AError: bad data; on all processes, whichever met it.
    """
    columns, unreadable = encode_columns(
        model, split, preprocessors, task, place, _selected, places=places, workers=workers, skip=skip
    )
    cls_NMD, mask_NMTD, present_NM, target, place_N = (column.cpu() for column in columns)
    keys = split.keys()
    mask_NMMD = mask_NMTD.expand(-1, -1, len(model.names), -1)
    own_keys = tuple(keys[i] for i in place_N.tolist())
    return Encoded(cls_NMD, mask_NMMD, present_NM, target, place_N, own_keys, tuple(unreadable))


def _selected(model: U2A, batch: Batch) -> tuple[Tensor, ...]:
    cls_BMD, mask_BMMD = model.encode(batch.inputs, batch.present_BM)
    tokens = cls_BMD.flatten(2), mask_BMMD.flatten(2)
    refuse_non_finite(tokens, model, batch.inputs, batch.present_BM, batch.keys)
    return cls_BMD, mask_BMMD[:, :, : model.distinct_targets].clone()


def encode_columns(
    model: U2A,
    split: Split,
    preprocessors: Mapping[str, Preprocessor],
    task: TaskSection,
    place: World,
    columns: Columns,
    *,
    places: np.ndarray | None = None,
    workers: int = 0,
    skip: bool = False,
    only: Sequence[str] = (),
) -> tuple[list[Tensor], list[Unreadable]]:
    """One pass over (part of) a split: what `columns` makes of a batch, presence, target, place; and what was
    left out.

    Both stand in the order of their places, all of them on every process; rows on the device (one process: the
    CPU).

    Args:
        only: read these modalities alone, and take the others for missing; all if empty.

    Raises:
        U2AError: bad data, or none of the samples can be read; on all processes, whichever met it.
    """
    wanted = np.arange(len(split)) if places is None else places
    in_order = longest_first(wanted, expected_lengths(split, preprocessors), BATCH_SIZE)
    present_NM = split.present_NM & np.isin(split.modalities, only) if only else split.present_NM
    batches = EvaluationBatches(in_order, present_NM, BATCH_SIZE, place.rank, place.size)
    collate = Collator(preprocessors, len(task.classes), multi_label=task.kind == "multi_label", skip=skip)
    loader = make_loader(Samples(split, preprocessors, train=False), batches, collate, workers=workers)
    joined, unreadable = encode_loader(model, loader, len(batches), task, place, columns)
    order = joined[-1].argsort()
    seen = [*joined[-1].tolist(), *(one.place for one in unreadable)]
    if sorted(seen) != np.sort(wanted).tolist():
        raise RuntimeError("evaluation did not see every sample exactly once")
    if unreadable and len(unreadable) == len(wanted):
        raise U2AError(f"{split.name}: none of {len(wanted)} samples can be read; the first: {unreadable[0]}")
    return [column[order] for column in joined], unreadable


def encode_loader(
    model: U2A,
    loader: DataLoader,
    n_batches: int,
    task: TaskSection,
    place: World,
    columns: Columns,
) -> tuple[list[Tensor], list[Unreadable]]:
    """What `columns` makes of a loader's first batches, presence, target, place: of all processes, one after
    another. And, sorted, the samples that were left out.

    Raises:
        U2AError: bad data; on all processes, whichever met it.
    """
    parts, error = [], None
    unreadable: list[Unreadable] = []
    try:
        with reading(loader) as read:
            batches = map(unwrap, islice(read, n_batches))
            parts = _encode_batches(model, batches, place, columns, unreadable)
    except U2AError as met:
        error = met
    fail_together(error, place)
    rows = [gather_rows(column, place) for column in _join(parts, model, task, place, columns)]
    return rows, sorted(gather_lists(unreadable, place))


def _encode_batches(
    model: U2A,
    batches: Iterable[Batch],
    place: World,
    columns: Columns,
    unreadable: list[Unreadable],
) -> list[tuple[Tensor, ...]]:
    """The columns of each batch, where they are wanted next: processes exchange them on their devices.

    Adds to `unreadable` what the batches lack.
    """
    was_training = model.training
    store = place.device if place.size > 1 else torch.device("cpu")
    parts: list[tuple[Tensor, ...]] = []
    model.eval()
    merged = model.merge_lora()
    try:
        with torch.inference_mode():
            for batch in batches:
                unreadable += batch.unreadable
                if not batch.keys:
                    continue
                made = columns(model, batch.to(place.device))
                rows = *made, batch.present_BM, batch.target, batch.index_B
                parts.append(tuple(column.to(store) for column in rows))
    finally:
        if merged:
            model.unmerge_lora()
        model.train(was_training)
    return parts


def _join(
    parts: Sequence[tuple[Tensor, ...]],
    model: U2A,
    task: TaskSection,
    place: World,
    columns: Columns,
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
