"""One pass of the encoders over a split: all that any availability pattern needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from u2a.common.distributed import World, fail_together, gather_rows
from u2a.contract.modality import Preprocessor
from u2a.data.feeding.batches import Batch, Collator, Samples, make_loader, reading, unwrap
from u2a.data.feeding.plan import EvaluationBatches
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
    """

    cls_NMD: Tensor
    mask_NMMD: Tensor
    present_NM: Tensor
    target: Tensor
    place_N: Tensor
    keys: tuple[str, ...]


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
    cls_NMD, mask_NMTD, present_NM, target, place_N = (column.cpu() for column in columns)
    keys = split.keys()
    mask_NMMD = mask_NMTD.expand(-1, -1, len(model.names), -1)
    return Encoded(cls_NMD, mask_NMMD, present_NM, target, place_N, tuple(keys[i] for i in place_N.tolist()))


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
    on_batch: Callable[[int], None] = lambda n: None,
) -> list[Tensor]:
    """One pass over (part of) a split: what `columns` makes of a batch, presence, target, place.

    Rows stand in the order of their places, all of them on every process, on the device (one process: the CPU).
    """
    wanted = np.arange(len(split)) if places is None else places
    batches = EvaluationBatches(wanted, split.present_NM, BATCH_SIZE, place.rank, place.size)
    collate = Collator(preprocessors, len(task.classes), multi_label=task.kind == "multi_label")
    loader = make_loader(Samples(split, preprocessors, train=False), batches, collate, workers=workers)
    joined = encode_loader(model, loader, len(batches), task, place, columns, on_batch)
    order = joined[-1].argsort()
    if not torch.equal(joined[-1][order].cpu(), torch.from_numpy(np.sort(wanted))):
        raise RuntimeError("evaluation did not see every sample exactly once")
    return [column[order] for column in joined]


def encode_loader(
    model: U2A,
    loader: DataLoader,
    n_batches: int,
    task: TaskSection,
    place: World,
    columns: Columns,
    on_batch: Callable[[int], None] = lambda n: None,
) -> list[Tensor]:
    """What `columns` makes of a loader's first batches, presence, target, place: of all processes, one after
    another.

    Raises:
        U2AError: bad data; on all processes, whichever met it.
    """
    parts, error = [], None
    try:
        with reading(loader) as read:
            parts = _encode_batches(model, map(unwrap, islice(read, n_batches)), place, columns, on_batch)
    except U2AError as met:
        error = met
    fail_together(error, place)
    return [gather_rows(column, place) for column in _join(parts, model, task, place, columns)]


def _encode_batches(
    model: U2A,
    batches: Iterable[Batch],
    place: World,
    columns: Columns,
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
