"""Files that are the same, told from the digests in the indexes, without reading the shards.

Shape suffixes: S samples of a shard, M modalities in the order of the index.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2a.data.shards.dataset import read_dataset
from u2a.data.shards.index import ShardIndex

#: Members with these extensions are words or values: equal ones make no twins by themselves.
PLAIN = {"txt", "json"}
SHOWN = 3


def split_indexes(folder: Path) -> dict[str, list[ShardIndex]]:
    """The indexes of a data set in a folder, by split."""
    splits = read_dataset(str(folder)).splits
    return {name: [ShardIndex(folder / e.name) for e in entries] for name, entries in splits.items()}


def twin_notes(splits: Mapping[str, Sequence[ShardIndex]], *, texts: bool = False) -> Iterator[str]:
    """Files that several samples have, within a split and across splits, one line for each modality and place;
    and groups that are in several splits.

    Args:
        splits: their indexes, by split.
        texts: whether texts that are the same in two splits are told as well.
    """
    names = sorted({name for indexes in splits.values() for index in indexes for name in index.info.modalities})
    for modality in names:
        held = {split: _digests(indexes, modality) for split, indexes in splits.items()}
        yield from _within(modality, held, splits)
        if texts:
            held = {split: _digests(indexes, modality, texts=True) for split, indexes in splits.items()}
        yield from _across(f"{modality} files are the same", held, splits)
    groups = {split: np.concatenate([_group(index) for index in indexes]) for split, indexes in splits.items()}
    yield from _across("groups have samples", groups, splits)


def twin_groups(indexes: Sequence[ShardIndex]) -> NDArray[np.int64] | None:
    """A number a sample, the same for samples that no division may part; None if there are none such.

    Those are samples of one ``group``, samples that share a file (see `PLAIN`), and, where there are only
    texts, samples that are the same in all of them.
    """
    names = sorted({name for index in indexes for name in index.info.modalities})
    columns = [_digests(indexes, name) for name in names]
    if not any(column.any() for column in columns):
        columns = [_rows([_digests(indexes, name, texts=True) for name in names])]
    columns.append(np.concatenate([_group(index) for index in indexes]))
    groups = np.arange(len(columns[0]))
    for column in columns:
        _join(groups, column)
    while (up := groups[groups]).tolist() != groups.tolist():
        groups = up
    return groups if (groups != np.arange(len(groups))).any() else None


def copies(
    indexes: Sequence[ShardIndex], among: Sequence[ShardIndex], names: Sequence[str]
) -> NDArray[np.bool_]:
    """Which samples have a file (see `PLAIN`) and are the same as one of `among` in these modalities."""
    has_file = np.stack([_digests(indexes, name) for name in names]).any(0)
    mine, others = (_rows([_digests(part, name, texts=True) for name in names]) for part in (indexes, among))
    return np.asarray(has_file & np.isin(mine, others))


def _rows(columns: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """One number for each sample's texts together."""
    found = np.zeros_like(columns[0])
    for column in columns:
        found = found * np.uint64(0x9E3779B97F4A7C15) + column
    return found


def _group(index: ShardIndex) -> NDArray[np.uint64]:
    return index.array("group") if "group" in index.header() else np.zeros(index.info.samples, np.uint64)


def _join(groups: NDArray[np.int64], column: NDArray[np.uint64]) -> None:
    """Let every sample point at an earlier one of the same value, and so on to the first of all."""
    order = np.argsort(column, kind="stable")
    same = (column[order][1:] == column[order][:-1]) & (column[order][1:] > 0)
    for one, other in zip(order[:-1][same].tolist(), order[1:][same].tolist(), strict=True):
        a, b = _first(groups, one), _first(groups, other)
        groups[max(a, b)] = min(a, b)


def _first(groups: NDArray[np.int64], place: int) -> int:
    while (up := int(groups[place])) != place:
        groups[place] = groups[up]
        place = up
    return place


def has_digests(indexes: Iterable[ShardIndex]) -> bool:
    """Whether all of these indexes tell their members' content; older ones do not."""
    return all("digest" in index.header() for index in indexes)


def _digests(indexes: Sequence[ShardIndex], modality: str, *, texts: bool = False) -> NDArray[np.uint64]:
    """Of a modality's members, in order; 0 where there is none, or where it is a text."""
    parts = []
    for index in indexes:
        info = index.info
        known = "digest" in index.header() and modality in info.modalities
        if not known or (not texts and set(info.extensions[modality]) <= PLAIN):
            parts.append(np.zeros(info.samples, np.uint64))
        else:
            parts.append(index.array("digest")[:, info.modalities.index(modality)])
    return np.concatenate(parts)


def _within(
    modality: str, held: Mapping[str, NDArray[np.uint64]], splits: Mapping[str, Sequence[ShardIndex]]
) -> Iterator[str]:
    for split, digests in held.items():
        values, places, counts = np.unique(digests, return_index=True, return_counts=True)
        twice = (values > 0) & (counts > 1)
        if files := int(twice.sum()):
            keys = _some(_keys(splits[split], np.sort(places[twice])[:SHOWN]), files)
            samples = int(counts[twice].sum())
            yield f"{samples} samples of {split} share {files} {modality} files: {keys} have twins"


def _across(
    what: str, held: Mapping[str, NDArray[np.uint64]], splits: Mapping[str, Sequence[ShardIndex]]
) -> Iterator[str]:
    where: dict[int, list[str]] = defaultdict(list)
    for split, digests in held.items():
        for digest in np.unique(digests[digests > 0]).tolist():
            where[digest].append(split)
    by_splits: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for digest, names in where.items():
        if len(names) > 1:
            by_splits[tuple(names)].append(digest)
    for pair, found in sorted(by_splits.items()):
        places = sorted(int(np.flatnonzero(held[pair[0]] == digest)[0]) for digest in found[:SHOWN])
        keys = _some(_keys(splits[pair[0]], places), len(found))
        yield f"{len(found)} {what} in {' and '.join(pair)}: {keys}"


def _keys(indexes: Sequence[ShardIndex], places: Iterable[int]) -> list[str]:
    starts = np.cumsum([0, *(index.info.samples for index in indexes)])
    found = []
    for place in map(int, places):
        shard = int(np.searchsorted(starts, place, side="right")) - 1
        found.append(indexes[shard].key(place - int(starts[shard])))
    return found


def _some(keys: Sequence[str], total: int) -> str:
    return ", ".join(map(repr, keys)) + (f" and {total - len(keys)} more" if total > len(keys) else "")
