"""What a training cannot learn from its data, told before it starts.

Shape suffixes: N training samples, M modalities in recipe order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from u2a.data.reading.split import Split

_SHOWN = 5


def gaps(split: Split, used_N: NDArray[np.bool_], classes: Sequence[str]) -> list[str]:
    """Modalities and pairs of them that no used sample has, and classes without a sample; a line each."""
    present_NM = split.present_NM[used_N]
    return [
        *_missing_modalities(present_NM, split.modalities),
        *_missing_classes(class_counts(split, used_N, len(classes)), classes),
    ]


def _missing_modalities(present_NM: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    there = np.asarray(present_NM.any(axis=0))
    lines = [
        f"no training sample has {name}: what will be predicted from it is untrained"
        for name, found in zip(names, there.tolist(), strict=True)
        if not found
    ]
    for a, b in combinations(np.flatnonzero(there).tolist(), 2):
        if not (present_NM[:, a] & present_NM[:, b]).any():
            lines.append(
                f"no training sample has both {names[a]} and {names[b]}: neither learns to stand in "
                "for the other, and samples with both are like none in training"
            )
    return lines


def _missing_classes(counts: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    lonely = [name for name, count in zip(classes, counts, strict=True) if count == 1]
    lines = [f"classes without a training sample, which cannot be learned: {_some(empty)}"] if empty else []
    return lines + ([f"classes of one training sample: {_some(lonely)}"] if lonely else [])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def class_counts(split: Split, used_N: NDArray[np.bool_], n_classes: int) -> NDArray[np.int64]:
    """How many used samples have each class."""
    counts, start = np.zeros(n_classes, np.int64), 0
    stored_used = split.used.copy()  # of all samples in the indexes
    stored_used[stored_used] = used_N
    for index, _, class_ids in split.indexes():
        ends = index.array("label_ends")
        owner = start + np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
        ids = class_ids[index.array("label_ids")][stored_used[owner]]
        counts += np.bincount(ids, minlength=n_classes)
        start += len(ends)
    return counts
