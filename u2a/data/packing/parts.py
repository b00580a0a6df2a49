"""Parts of one packing, made by processes or machines that know nothing of each other, and joined afterwards.

Each part is a data set of its own: whole shards of every split, named as one packing of everything would name
them. What it is a part of stands beside its dataset.json. Joined, the parts are that one packing, byte for byte
(where undecodable samples are skipped, shards may hold fewer samples than those of one packing).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from u2a.common.files import write_text
from u2a.data.packing.staging import PART, SKIPPED, check_target, staged
from u2a.data.shards.dataset import FILE_NAME, DatasetFile, ShardEntry, fingerprint, read_dataset, write_dataset
from u2a.data.shards.index import index_path
from u2a.data.shards.twins import split_indexes, twin_notes
from u2a.errors import U2AError


class Part(BaseModel):
    """``part.json``: of which packing this is a part, its place from 1 to `of`, the whole's rows by split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    whole: str
    number: int = Field(ge=1)
    of: int = Field(ge=1)
    splits: dict[str, int]

    def shards(self, split: str, shard_size: int) -> range:
        """The numbers of a split's shards that belong to this part: equal shares, in order."""
        count = -(-self.splits[split] // shard_size)
        return range(count * (self.number - 1) // self.of, count * self.number // self.of)

    def rows(self, split: str, shard_size: int) -> range:
        """The places of the rows that these shards hold, in their split."""
        shards, count = self.shards(split, shard_size), self.splits[split]
        return range(min(shards.start * shard_size, count), min(shards.stop * shard_size, count))


def merge_parts(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda note: None,
) -> DatasetFile:
    """Join all parts of one packing in `out`; shards are linked where that is possible, else copied.

    Args:
        folders: of the parts, in any order.
        overwrite: replace the data set that `out` holds, once the new one is complete.
        tell: called with what a person should know of the whole.

    Raises:
        U2AError: a part is missing, there twice, of another packing, or incomplete. `out` is as it was.
    """
    target = Path(os.path.realpath(out))
    check_target(target, overwrite)
    parts = _all_of_one([Path(folder) for folder in folders])
    first = parts[0][0]
    try:
        with staged(target, first.whole, overwrite) as stage:
            made = _joined(parts, stage.folder)
            if skipped := _skipped(parts):
                write_text(stage.folder / SKIPPED, "\n".join(skipped) + "\n")
            write_dataset(stage.folder, made)
    except OSError as error:
        reason = error.strerror or error
        raise U2AError(f"{error.filename or target}: {reason}; {target} was not changed") from error
    for note in twin_notes(split_indexes(target)):
        tell(note)
    return made


def _all_of_one(folders: Sequence[Path]) -> list[tuple[Part, Path]]:
    """The parts by their numbers: of one packing, each there once.

    Raises:
        U2AError: names the folder that is not, or the numbers that are missing.
    """
    found = sorted(((_read(folder), folder) for folder in folders), key=lambda one: one[0].number)
    if not found:
        raise U2AError("no parts to merge; give the folders that u2a data pack --part made")
    first, where = found[0]
    numbers: dict[int, Path] = {}
    for part, folder in found:
        if (part.whole, part.of) != (first.whole, first.of):
            raise U2AError(f"{folder}: part of another packing than {where}: other files, recipe or options")
        if part.number in numbers:
            raise U2AError(f"{folder}: part {part.number}/{part.of}, as {numbers[part.number]} is")
        numbers[part.number] = folder
    if missing := [str(i) for i in range(1, first.of + 1) if i not in numbers]:
        raise U2AError(f"of {first.of} parts, {', '.join(missing)} are missing")
    return found


def _read(folder: Path) -> Part:
    path = folder / PART
    try:
        return Part.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise U2AError(f"{path}: is not there; parts are made with: u2a data pack --part 1/4") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise U2AError(f"{path}: damaged ({fault['msg']}); pack that part again") from None


def _joined(parts: Sequence[tuple[Part, Path]], folder: Path) -> DatasetFile:
    """Bring all shards to `folder`, in the order of the whole."""
    held = [(place, read_dataset(str(place))) for _, place in parts if (place / FILE_NAME).exists()]
    if not held:
        raise U2AError("no part has a sample that can be used")
    found: dict[str, list[ShardEntry]] = {name: [] for name in parts[0][0].splits}
    for place, dataset in held:
        for name, entries in dataset.splits.items():
            for entry in entries:
                _bring(place / entry.name, folder, entry.bytes)
            found[name] += entries
    splits = {name: tuple(entries) for name, entries in found.items() if entries}
    labels = sorted({label for _, dataset in held for label in dataset.classes})
    return DatasetFile(
        modalities=held[0][1].modalities,
        task_kind=held[0][1].task_kind,
        splits=splits,
        classes={label: {name: _count(held, label, name) for name in splits} for label in labels},
        fingerprint=fingerprint(entry.sha256 for entries in splits.values() for entry in entries),
    )


def _count(held: Sequence[tuple[Path, DatasetFile]], label: str, split: str) -> int:
    return sum(dataset.classes.get(label, {}).get(split, 0) for _, dataset in held)


def _bring(shard: Path, folder: Path, size: int) -> None:
    if not shard.is_file() or shard.stat().st_size != size or not index_path(shard).is_file():
        raise U2AError(f"{shard}: missing, cut off, or without its index; pack that part again")
    for path in (shard, index_path(shard)):
        try:
            os.link(path, folder / path.name)
        except OSError:  # another disk, or one that knows no links
            shutil.copyfile(path, folder / path.name)


def _skipped(parts: Sequence[tuple[Part, Path]]) -> list[str]:
    """The lines of all parts' ``skipped.jsonl``, split after split, as one packing writes them."""
    files = [place / SKIPPED for _, place in parts if (place / SKIPPED).is_file()]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    order = list(parts[0][0].splits)
    return sorted(lines, key=lambda line: order.index(json.loads(line)["split"]))
