"""One pass of the encoders over a split: all that any availability pattern needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from u2a.common.distributed import World, fail_together, gather_rows
from u2a.contract.modality import Preprocessor
from u2a.data.feeding.batches import Batch, Collator, Samples, make_loader, reading, unwrap
from u2a.data.feeding.plan import EvaluationBatches
from u2a.data.reading.split import Split
from u2a.errors import U2AError
from u2a.method.finite import refuse_non_finite
from u2a.method.model import U2A
from u2a.recipe.sections import TaskSection

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
    wanted = np.arange(len(split)) if places is None else places
    batches = EvaluationBatches(wanted, split.present_NM, BATCH_SIZE, place.rank, place.size)
    collate = Collator(preprocessors, len(task.classes), multi_label=task.kind == "multi_label")
    loader = make_loader(Samples(split, preprocessors, train=False), batches, collate, workers=workers)
    parts, error = [], None
    try:
        with reading(loader) as read:
            parts = _encode_batches(model, map(unwrap, read), place, on_batch)
    except U2AError as met:
        error = met
    fail_together(error, place)
    columns = [gather_rows(column, place) for column in _join(parts, model, task)]
    order = columns[-1].argsort()
    cls_NMD, mask_NMTD, *others = (column[order].cpu() for column in columns)
    encoded = Encoded(cls_NMD, mask_NMTD.expand(-1, -1, len(model.names), -1), *others)
    if not torch.equal(encoded.place_N, torch.from_numpy(np.sort(wanted))):
        raise RuntimeError("evaluation did not see every sample exactly once")
    return encoded


def _encode_batches(
    model: U2A, batches: Iterable[Batch], place: World, on_batch: Callable[[int], None]
) -> list[tuple[Tensor, ...]]:
    """The columns of each batch, where they are wanted next: processes exchange them on their devices."""
    was_training, T = model.training, model.distinct_targets
    store = place.device if place.size > 1 else torch.device("cpu")
    parts: list[tuple[Tensor, ...]] = []
    model.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                moved = batch.to(place.device)
                cls_BMD, mask_BMMD = model.encode(moved.inputs, moved.present_BM)
                tokens = cls_BMD.flatten(2), mask_BMMD.flatten(2)
                refuse_non_finite(tokens, model, moved.inputs, moved.present_BM, moved.keys)
                columns = cls_BMD, mask_BMMD[:, :, :T].clone(), batch.present_BM, batch.target, batch.index_B
                parts.append(tuple(column.to(store) for column in columns))
                on_batch(len(batch.keys))
    finally:
        model.train(was_training)
    return parts


def _join(parts: Sequence[tuple[Tensor, ...]], model: U2A, task: TaskSection) -> list[Tensor]:
    """Columns of all batches; a process without samples still needs columns of the right sizes."""
    if parts:
        return [torch.cat(column) for column in zip(*parts, strict=True)]
    M, D, C, weight = len(model.names), model.width, len(task.classes), model.head.weight
    target = weight.new_zeros(0, C) if task.kind == "multi_label" else weight.new_zeros(0, dtype=torch.long)
    return [
        weight.new_zeros(0, M, D),
        weight.new_zeros(0, M, model.distinct_targets, D),
        weight.new_zeros(0, M, dtype=torch.bool),
        target,
        weight.new_zeros(0, dtype=torch.long),
    ]
