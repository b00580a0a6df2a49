"""Reading one split of a data set by sample number, with everything checked when it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from u2a.common.remote import show
from u2a.contract.paths import is_url
from u2a.data.reading.split_checks import check_labels, check_modalities, check_shard, presence
from u2a.data.reading.stored import StoredShard, opener
from u2a.data.shards.dataset import Shards, fingerprint, index_addresses, shard_addresses, split_names
from u2a.data.shards.index import ShardIndex
from u2a.data.shards.twins import copies, twin_groups
from u2a.data.storage.cache import Cache, RemoteShard
from u2a.errors import ShardError

__all__ = ["Split", "open_split", "split_names"]

#: Remote indexes that are fetched at once.
FETCHERS = 16


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
        shards: list[StoredShard],
        present_NM: NDArray[np.bool_],
        shard_sizes: list[int],
        fingerprint: str,
        cache: Cache,
    ) -> None:
        self.name = name
        self.modalities = modalities
        self.present_NM = present_NM
        self.shard_sizes = shard_sizes
        self.fingerprint = fingerprint
        self.notes: tuple[str, ...] = ()
        self._shards = shards
        self._starts = np.cumsum([0, *shard_sizes])
        self.cache = cache
        self._open = opener(shards, cache)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open=opener(state["_shards"], state["cache"]))

    def with_presence(self, present_NM: NDArray[np.bool_], fingerprint: str, notes: tuple[str, ...]) -> Split:
        """The same split with other presence over the same data."""
        other = copy(self)
        other.present_NM, other.fingerprint, other.notes = present_NM, fingerprint, (*self.notes, *notes)
        return other

    def keys(self) -> list[str]:
        """The original keys of all samples, in order."""
        stored = (key for index, _, _ in self.indexes() for key in index.all_keys())
        return [key for key, used in zip(stored, self.used, strict=True) if used]

    @property
    def used(self) -> NDArray[np.bool_]:
        """Of all samples in the indexes, the N that have any of the recipe's modalities."""
        everything = (np.ones(shard.samples, bool) for shard in self._shards)
        parts = (shard.used_S for shard in self._shards)
        return np.concatenate([a if b is None else b for a, b in zip(everything, parts, strict=True)])

    def groups(self) -> NDArray[np.int64] | None:
        """A number a sample, the same for those that share a file or a group; None if none do."""
        groups_N = twin_groups([index for index, _, _ in self.indexes()])
        return None if groups_N is None else groups_N[self.used]

    def copies(self, other: Split) -> int:
        """How many samples are the same as one of the other split, file by file."""
        mine, others = ([index for index, _, _ in split.indexes()] for split in (self, other))
        return int(copies(mine, others, self.modalities)[self.used].sum())

    def indexes(self) -> Iterator[tuple[ShardIndex, dict[str, int], NDArray[np.int64]]]:
        """Each shard's index, with its column of each modality and the recipe's number of each class."""
        for shard in self._shards:
            yield ShardIndex(shard.address, shard.index), shard.columns, shard.class_ids

    def sizes(self) -> NDArray[np.int64]:
        """Bytes of every member, [N, M]; -1 where absent."""
        parts = []
        for index, columns, _ in self.indexes():
            stored_SM = index.array("size")
            part_SM = np.full((len(stored_SM), len(self.modalities)), -1, np.int64)
            for m, name in enumerate(self.modalities):
                if name in columns:
                    part_SM[:, m] = stored_SM[:, columns[name]]
            parts.append(part_SM)
        return np.concatenate(parts)[self.used]

    def key(self, i: int) -> str:
        """The original key of sample `i`."""
        number, row = self._locate(i)
        return self._open(number).index.key(row)

    def labels(self, i: int) -> tuple[int, ...]:
        """Sample `i`'s labels as indices into the recipe's classes; empty for an unlabelled sample."""
        number, row = self._locate(i)
        ids = self._open(number).index.label_ids(row)
        return tuple(self._shards[number].class_ids[ids].tolist()) if len(ids) else ()

    def members(self, i: int, names: Iterable[str]) -> dict[str, bytes]:
        """The bytes of sample `i` for those modalities, and no others.

        Raises:
            ShardError: the sample lacks one of them, or the shard was cut since it was opened.
        """
        number, row = self._locate(i)
        opened = self._open(number)
        offsets, sizes = (opened.index.slice(name, row, row + 1)[0] for name in ("offset", "size"))
        found: dict[str, bytes] = {}
        read: dict[int, bytes] = {}  # modalities may share a member
        for name in names:
            column = self._shards[number].columns.get(name)
            if column is None or offsets[column] < 0:
                raise ShardError(f"{self.where(i)}: has no {name}")
            offset, size = int(offsets[column]), int(sizes[column])
            if offset not in read:
                read[offset] = opened.read(offset, size)
            found[name] = read[offset]
        return found

    def where(self, i: int) -> str:
        """``train-000000.tar: sample 'key'``, for messages."""
        number, _ = self._locate(i)
        return f"{Path(show(self._shards[number].address)).name}: sample {self.key(i)!r}"

    def remote_shards(self) -> dict[int, RemoteShard]:
        """By number, the shards that are not on this machine."""
        return {
            number: RemoteShard(shard.address, shard.bytes, shard.sha256)
            for number, shard in enumerate(self._shards)
            if is_url(shard.address)
        }

    def _locate(self, i: int) -> tuple[int, int]:
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        number = int(np.searchsorted(self._starts, i, side="right")) - 1
        row, rows = i - int(self._starts[number]), self._shards[number].rows
        return number, row if rows is None else int(rows[row])


def _identity(index: ShardIndex) -> str:
    """What a shard's content is known by: if it was made elsewhere, its index, which decides the labels."""
    return index.sha256 if index.info.mapping else index.info.sha256


def open_split(
    shards: Shards,
    split: str,
    *,
    modalities: Sequence[str],
    classes: Sequence[str],
    multi_label: bool,
    labelled: bool = True,
    verify: bool = False,
    cache: Cache | None = None,
    indexes: Mapping[str, str | Sequence[str]] | None = None,
) -> Split:
    """Open a split and check all of it before any compute.

    Args:
        shards: the recipe's ``data.shards``.
        split: the split's name.
        modalities: the recipe's modalities, in recipe order.
        classes: the recipe's class names, in order.
        multi_label: a sample may have any number of labels; otherwise exactly one.
        labelled: whether samples without label are refused.
        verify: compare the content of every local shard with its index, not only the size; remote ones are
            compared when they are fetched.
        cache: where remote shards are kept; the default one if None.
        indexes: the recipe's ``data.indexes``.

    Raises:
        ShardError: names the file, and the sample where there is one: missing or changed shard, missing
            index, a label outside the classes, a missing label; or no sample has any of the modalities (samples
            that have none of them are left out, and counted in ``notes``).
    """
    addresses = shard_addresses(shards, split)
    cache = cache or Cache()
    with ThreadPoolExecutor(FETCHERS) as pool:
        opened = list(
            pool.map(
                lambda place, index: check_shard(place[0], place[1], index, verify=verify, cache=cache),
                addresses,
                index_addresses(indexes, split, len(addresses)),
            )
        )
    infos = [index.info for index in opened]
    check_modalities(addresses[0][0], split, modalities, infos)
    class_ids = {name: number for number, name in enumerate(classes)}
    present, kept = [], []
    for (address, _), index in zip(addresses, opened, strict=True):
        present_SM = presence(index, modalities)
        used_S = np.asarray(present_SM.any(axis=1))
        present.append(present_SM[used_S])
        ids = check_labels(index, class_ids, multi_label=multi_label, labelled=labelled)
        columns = {name: column for column, name in enumerate(index.info.modalities)}
        kept.append(
            StoredShard(
                address,
                index.path,
                index.info.bytes,
                index.info.sha256,
                columns,
                ids,
                len(used_S),
                None if used_S.all() else used_S,
            )
        )
    sizes = [len(present_SM) for present_SM in present]
    content = fingerprint(map(_identity, opened))
    found = Split(split, tuple(modalities), kept, np.concatenate(present), sizes, content, cache)
    if left_out := int((~found.used).sum()):
        if not len(found):
            raise ShardError(f"split {split!r}: no sample has any of the recipe's modalities")
        wanted = ", ".join(modalities)
        found.notes = (f"{split}: {left_out} samples have none of {wanted}: left out, {len(found)} remain",)
    return found
