"""Indexed shards as a split of their folder's dataset.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from u2a.data.shards.dataset import (
    FILE_NAME,
    LOCK_NAME,
    DatasetFile,
    ShardEntry,
    fingerprint,
    read_dataset,
    write_dataset,
)
from u2a.data.shards.index import ShardIndex
from u2a.data.shards.index_checks import check_index
from u2a.data.shards.writer import shard_entry
from u2a.data.storage.locks import EXCLUSIVE, Lock
from u2a.errors import U2AError


def add_split(shards: Sequence[Path], split: str) -> str:
    """Add indexed shards of one folder to a split of the folder's dataset.json, which is made if need be.

    Two processes may do so at once. A shard that the split has already is listed anew, in its place.

    Returns:
        One line that says what the split has now.

    Raises:
        U2AError: they lie in several folders, or are part of the data set already, by name or by content.
    """
    folders = {shard.parent for shard in shards}
    if len(folders) != 1:
        raise U2AError(f"--split {split}: the shards must lie in one folder, not in {len(folders)}")
    folder = folders.pop()
    path = folder / FILE_NAME
    entries = [shard_entry(shard, ShardIndex(shard).info) for shard in shards]
    with Lock(folder / LOCK_NAME, EXCLUSIVE):
        splits = dict(read_dataset(str(folder)).splits) if path.exists() else {}
        _check_overlap(folder, splits, split, entries)
        before = {entry.name: entry for entry in splits.get(split, ())}
        now = {**before, **{entry.name: entry for entry in entries}}
        splits[split] = tuple(now.values())
        described = _describe(folder, splits)
        write_dataset(folder, described)
    samples = sum(entry.samples for entry in splits[split])
    added = f", {len(now) - len(before)} of them added to the {len(before)} it had" if before else ""
    return f"wrote {path}: split {split!r} has {len(now)} shards, {samples} samples{added}"


def _check_overlap(
    folder: Path, splits: dict[str, tuple[ShardEntry, ...]], split: str, new: Sequence[ShardEntry]
) -> None:
    places = {entry.name: name for name, entries in splits.items() for entry in entries}
    contents = {e.sha256: (e.name, name) for name, entries in splits.items() for e in entries}
    for entry in new:
        if places.get(entry.name, split) != split:
            raise U2AError(f"{folder / entry.name}: belongs to split {places[entry.name]!r} already")
        copy, where = contents.setdefault(entry.sha256, (entry.name, split))
        if copy != entry.name:
            raise U2AError(f"{folder / entry.name}: is a copy of {copy}, which is in split {where!r}")


def _describe(folder: Path, splits: dict[str, tuple[ShardEntry, ...]]) -> DatasetFile:
    modalities: dict[str, None] = {}
    counts: dict[str, dict[str, int]] = {}
    kind: Literal["single_label", "multi_label"] = "single_label"
    for split, entries in splits.items():
        for entry in entries:
            index = ShardIndex(folder / entry.name)
            check_index(index)
            modalities |= dict.fromkeys(index.info.modalities)
            ends, ids = index.array("label_ends"), index.array("label_ids")
            labels_S = [b - a for a, b in zip([0, *ends[:-1]], ends, strict=True)]
            if any(n != 1 for n, has in zip(labels_S, index.array("labelled"), strict=True) if has):
                kind = "multi_label"
            for number in ids.tolist():
                of_class = counts.setdefault(index.info.classes[number], dict.fromkeys(splits, 0))
                of_class[split] += 1
    return DatasetFile(
        modalities=tuple(modalities),
        task_kind=kind,
        splits=splits,
        classes=dict(sorted(counts.items())),
        fingerprint=fingerprint(entry.sha256 for entries in splits.values() for entry in entries),
    )
