"""Whether an index can be trusted: it may come from anywhere, and its numbers become places in files and lists.

Shape suffixes: S samples of a shard, M modalities in the order of the index.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from u2a.data.shards.index import ShardIndex
from u2a.errors import ShardError

#: Arrays that older indexes lack, and those without groups.
_OPTIONAL = {"digest": ("U64", "SM"), "group": ("U64", "S")}
_WANTED = {
    "offset": ("I64", "SM"),
    "size": ("I64", "SM"),
    "present": ("BOOL", "SM"),
    "keys": ("U8", "*"),
    "key_ends": ("I64", "S"),
    "labelled": ("BOOL", "S"),
    "label_ids": ("I32", "*"),
    "label_ends": ("I64", "S"),
}


def check_index(index: ShardIndex) -> None:
    """Check every number of an index, a whole array at a time.

    Raises:
        ShardError: the first thing that no index of a sound shard says.
    """
    for fault in _faults(index):
        raise ShardError(
            f"{index.path}: damaged: {fault}; make it again with: u2a data index {index.shard}, "
            "or pack the data set again"
        )


def _faults(index: ShardIndex) -> Iterator[str]:
    """What is wrong, one line each; later checks rely on the earlier ones, so only the first counts."""
    info = index.info
    S, M = info.samples, len(info.modalities)
    if not M or len(set(info.modalities)) != M or set(info.extensions) != set(info.modalities):
        yield "modalities and extensions do not fit together"
    header = index.header()
    known = {name: want for name, want in _OPTIONAL.items() if name in header}
    for name, (kind, shape) in (_WANTED | known).items():
        wanted = [{"S": S, "M": M}.get(side) for side in shape]
        found, sides = header.get(name, ("missing", []))
        if found != kind or len(sides) != len(wanted) or wanted not in ([None], sides):
            yield f"array {name} is {found} {sides}"
    arrays = {name: index.array(name) for name in _WANTED}
    yield from _span_faults(arrays["offset"], arrays["size"], arrays["present"], info.bytes)
    yield from _key_faults(arrays["keys"], arrays["key_ends"])
    yield from _label_faults(arrays["label_ids"], arrays["label_ends"], len(info.classes))


def _span_faults(
    offset_SM: NDArray[np.int64], size_SM: NDArray[np.int64], present_SM: NDArray[np.bool_], total: int
) -> Iterator[str]:
    if (present_SM != (offset_SM >= 0)).any():
        yield "present and offset disagree"
    room_SM = total - offset_SM  # cannot overflow where offset >= 0
    if (present_SM & ((size_SM <= 0) | (size_SM > room_SM))).any():
        yield "a member lies outside the shard"


def _key_faults(keys: NDArray[np.uint8], ends_S: NDArray[np.int64]) -> Iterator[str]:
    if (np.diff(ends_S, prepend=0) <= 0).any() or ends_S[-1] != len(keys):
        yield "key_ends does not divide keys"
    try:
        keys.tobytes().decode()
    except UnicodeDecodeError:
        yield "keys are not UTF-8"
    if (keys[ends_S[:-1]] & 0xC0 == 0x80).any():  # the middle of a character
        yield "key_ends does not divide keys"


def _label_faults(ids: NDArray[np.int32], ends_S: NDArray[np.int64], classes: int) -> Iterator[str]:
    if (np.diff(ends_S, prepend=0) < 0).any() or ends_S[-1] != len(ids):
        yield "label_ends does not divide label_ids"
    if len(ids) and not 0 <= ids.min() <= ids.max() < classes:
        yield "label_ids has a number that is no class"
    if not np.bincount(ids, minlength=classes).all():
        yield "it lists a class that no sample has"
