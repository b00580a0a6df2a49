"""Reading one split of a data set by sample number, with everything checked when it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from u2a.data.dataset import ShardEntry, Shards, fingerprint, local_path, shard_addresses, split_names
from u2a.data.index import IndexInfo, ShardFile, ShardIndex
from u2a.data.samples import nearest
from u2a.errors import ShardError

__all__ = ["Split", "open_split", "split_names"]

#: Shards that a process keeps open at once.
OPEN_SHARDS = 64


@dataclass(frozen=True)
class _Shard:
    """What a split keeps of each shard in memory."""

    address: str
    bytes: int
    columns: dict[str, int]  # modality -> column of the index
    class_ids: NDArray[np.int64]  # the shard's class numbers -> the recipe's


class _Open:
    """A shard and its index, open in this process."""

    def __init__(self, address: str, size: int) -> None:
        path = local_path(address)
        self.file = ShardFile(path, size)
        self.index = ShardIndex(path)


class Split:
    """One split of a data set, N samples in the order of its shards; picklable, made by `open_split`.

    Attributes:
        name: the split's name.
        modalities: the recipe's modalities, in recipe order.
        present_NM: bool [N, M], the presence that the data declares.
        shard_sizes: samples of each shard, in order.
        fingerprint: the identity of the split's content, and of the missing table over it, if any.
        notes: what a person should know about it, one line each.
    """

    def __init__(
        self,
        name: str,
        modalities: tuple[str, ...],
        shards: list[_Shard],
        present_NM: NDArray[np.bool_],
        shard_sizes: list[int],
        fingerprint: str,
    ) -> None:
        self.name = name
        self.modalities = modalities
        self.present_NM = present_NM
        self.shard_sizes = shard_sizes
        self.fingerprint = fingerprint
        self.notes: tuple[str, ...] = ()
        self._shards = shards
        self._starts = np.cumsum([0, *shard_sizes])
        self._open: Callable[[str, int], _Open] = lru_cache(OPEN_SHARDS)(_Open)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open=lru_cache(OPEN_SHARDS)(_Open))

    def with_presence(self, present_NM: NDArray[np.bool_], fingerprint: str, notes: tuple[str, ...]) -> Split:
        """The same split with other presence over the same data."""
        other = copy(self)
        other.present_NM, other.fingerprint, other.notes = present_NM, fingerprint, notes
        return other

    def keys(self) -> list[str]:
        """The original keys of all samples, in order."""
        return [key for index, _, _ in self.indexes() for key in index.all_keys()]

    def indexes(self) -> Iterator[tuple[ShardIndex, dict[str, int], NDArray[np.int64]]]:
        """Each shard's index, with its column of each modality and the recipe's number of each class."""
        for shard in self._shards:
            yield ShardIndex(local_path(shard.address)), shard.columns, shard.class_ids

    def key(self, i: int) -> str:
        """The original key of sample `i`."""
        shard, row = self._locate(i)
        return self._open(shard.address, shard.bytes).index.key(row)

    def labels(self, i: int) -> tuple[int, ...]:
        """Sample `i`'s labels as indices into the recipe's classes; empty for an unlabelled sample."""
        shard, row = self._locate(i)
        ids = self._open(shard.address, shard.bytes).index.label_ids(row)
        return tuple(shard.class_ids[ids].tolist()) if len(ids) else ()

    def members(self, i: int, names: Iterable[str]) -> dict[str, bytes]:
        """The bytes of sample `i` for those modalities, and no others.

        Raises:
            ShardError: the sample lacks one of them, or the shard was cut since it was opened.
        """
        shard, row = self._locate(i)
        opened = self._open(shard.address, shard.bytes)
        offsets, sizes = (opened.index.slice(name, row, row + 1)[0] for name in ("offset", "size"))
        found: dict[str, bytes] = {}
        read: dict[int, bytes] = {}  # modalities may share a member
        for name in names:
            column = shard.columns.get(name)
            if column is None or offsets[column] < 0:
                raise ShardError(f"{self.where(i)}: has no {name}")
            offset, size = int(offsets[column]), int(sizes[column])
            if offset not in read:
                read[offset] = opened.file.read(offset, size)
            found[name] = read[offset]
        return found

    def where(self, i: int) -> str:
        """``train-000000.tar: sample 'key'``, for messages."""
        shard, _ = self._locate(i)
        return f"{Path(shard.address).name}: sample {self.key(i)!r}"

    def _locate(self, i: int) -> tuple[_Shard, int]:
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        number = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self._shards[number], i - int(self._starts[number])


def open_split(
    shards: Shards,
    split: str,
    *,
    modalities: Sequence[str],
    classes: Sequence[str],
    multi_label: bool,
    labelled: bool = True,
    verify: bool = False,
) -> Split:
    """Open a split and check all of it before any compute.

    Args:
        shards: the recipe's ``data.shards``.
        split: the split's name.
        modalities: the recipe's modalities, in recipe order.
        classes: the recipe's class names, in order.
        multi_label: a sample may have any number of labels; otherwise exactly one.
        labelled: whether samples without label are refused.
        verify: compare the content of every shard with its index, not only the size.

    Raises:
        ShardError: names the file, and the sample where there is one: missing or changed shard, missing
            index, a sample with none of the modalities, a label outside the classes, a missing label.
    """
    addresses = shard_addresses(shards, split)
    infos = [_check_shard(address, entry, verify) for address, entry in addresses]
    _check_modalities(addresses[0][0], split, modalities, infos)
    class_ids = {name: number for number, name in enumerate(classes)}
    presence, kept = [], []
    for (address, _), info in zip(addresses, infos, strict=True):
        index = ShardIndex(local_path(address))
        presence.append(_presence(index, modalities))
        ids = _check_labels(index, class_ids, multi_label=multi_label, labelled=labelled)
        columns = {name: column for column, name in enumerate(info.modalities)}
        kept.append(_Shard(address, info.bytes, columns, ids))
    sizes = [info.samples for info in infos]
    content = fingerprint(info.sha256 for info in infos)
    return Split(split, tuple(modalities), kept, np.concatenate(presence), sizes, content)


def _check_shard(address: str, entry: ShardEntry | None, verify: bool) -> IndexInfo:
    path = local_path(address)
    index = ShardIndex(path)
    index.check_shard(path, verify=verify)
    if entry and (entry.sha256, entry.samples) != (index.info.sha256, index.info.samples):
        raise ShardError(f"{path}: dataset.json and the shard's index disagree; pack the data set again")
    return index.info


def _check_modalities(shard: str, split: str, modalities: Sequence[str], infos: list[IndexInfo]) -> None:
    held = sorted({name for info in infos for name in info.modalities})
    for name in modalities:
        if name not in held:
            raise ShardError(f"{shard}: no shard of split {split!r} knows {name!r}{nearest(name, held)}")


def _presence(index: ShardIndex, modalities: Sequence[str]) -> NDArray[np.bool_]:
    """Bool [S, M] in recipe order."""
    stored_SM = index.array("present")
    present_SM = np.zeros((index.info.samples, len(modalities)), np.bool_)
    for column, name in enumerate(modalities):
        if name in index.info.modalities:
            present_SM[:, column] = stored_SM[:, index.info.modalities.index(name)]
    empty = np.flatnonzero(~present_SM.any(axis=1))
    if len(empty):
        wanted = ", ".join(modalities)
        raise ShardError(
            f"{index.shard}: sample {index.key(int(empty[0]))!r}: has none of the recipe's modalities "
            f"({wanted}); {len(empty)} such samples in this shard"
        )
    return present_SM


def _check_labels(
    index: ShardIndex, class_ids: dict[str, int], *, multi_label: bool, labelled: bool
) -> NDArray[np.int64]:
    """The recipe's number of each of the shard's classes."""
    counts_S = np.diff(index.array("label_ends"), prepend=0)
    has_labels_S = index.array("labelled")
    for number, name in enumerate(index.info.classes):
        if name not in class_ids:
            place = int(np.flatnonzero(index.array("label_ids") == number)[0])
            row = int(np.searchsorted(index.array("label_ends"), place, side="right"))
            raise ShardError(
                f"{index.shard}: sample {index.key(row)!r}: label {name!r} is not one of the recipe's classes"
                f"{nearest(name, class_ids)}"
            )
    if not multi_label and len(wrong := np.flatnonzero(has_labels_S & (counts_S != 1))):
        row = int(wrong[0])
        raise ShardError(
            f"{index.shard}: sample {index.key(row)!r}: has {counts_S[row]} labels, "
            "but task.kind = single_label wants one"
        )
    if labelled and len(missing := np.flatnonzero(~has_labels_S)):
        raise ShardError(f"{index.shard}: sample {index.key(int(missing[0]))!r}: has no label")
    return np.array([class_ids[name] for name in index.info.classes], np.int64)
