"""``dataset.json``, and from a recipe's ``data.shards`` to the shards of a split."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from braceexpand import braceexpand
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from u2a.common.files import replacing, sync_folder
from u2a.common.hints import nearest
from u2a.common.remote import fetch
from u2a.contract.paths import is_url
from u2a.data.storage.digests import Sha256
from u2a.errors import ShardError

FILE_NAME = "dataset.json"
#: Held by whoever changes dataset.json.
LOCK_NAME = ".dataset.lock"
MAX_SHARDS = 1_000_000
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")

#: The recipe's ``data.shards``: a folder with dataset.json, or split names to shard files.
Shards = str | Mapping[str, str | Sequence[str]]


class ShardEntry(BaseModel):
    """One shard as dataset.json lists it; `index` is the sha256 of its index."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # a file of this folder, nothing else
    samples: int = Field(gt=0)
    bytes: int = Field(gt=0)
    sha256: Sha256
    index: Sha256 | None = None


class DatasetFile(BaseModel):
    """dataset.json. ``classes``: class names found, sorted, to their counts by split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    modalities: tuple[str, ...]
    task_kind: Literal["single_label", "multi_label"]
    splits: dict[str, Annotated[tuple[ShardEntry, ...], Field(min_length=1)]] = Field(min_length=1)
    classes: dict[str, dict[str, int]]
    fingerprint: str


def fingerprint(hashes: Iterable[str]) -> str:
    """The sha256 over the shards' sha256, in order: the identity of a split or of a data set."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def read_dataset(folder: str) -> DatasetFile:
    """Read the dataset.json of a folder.

    Raises:
        ShardError: it is missing, damaged, or of another format.
    """
    path = os.path.join(folder, FILE_NAME)
    try:
        data = fetch(path) if is_url(path) else Path(path).read_bytes()
        return DatasetFile.model_validate_json(data)
    except OSError as error:
        raise ShardError(
            f"{path}: {error.strerror}; make the data set with: u2a data pack RECIPE --manifest FILE"
        ) from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "file"
        raise ShardError(f"{path}: not a data set of format 1: {place}: {fault['msg']}") from None


def write_dataset(folder: Path, described: DatasetFile) -> None:
    """Write the dataset.json of a folder; all of it is there afterwards, or what was there before."""
    with replacing(folder / FILE_NAME) as stream:
        stream.write(described.model_dump_json(indent=1).encode() + b"\n")
    sync_folder(folder)


def local_path(address: str) -> Path:
    """A path that must be one of this machine."""
    if is_url(address):
        raise ShardError(f"{address}: must be a local file; copy it here")
    return Path(address)


def split_names(shards: Shards) -> list[str]:
    """The splits that a recipe's ``data.shards`` holds.

    Raises:
        ShardError: the folder's dataset.json cannot be read.
    """
    return list(read_dataset(shards).splits if isinstance(shards, str) else shards)


def shard_addresses(shards: Shards, split: str) -> list[tuple[str, ShardEntry | None]]:
    """The shards of a split in order, with what dataset.json says of each where there is one.

    Raises:
        ShardError: there is no such split, or it names no shards.
    """
    names = split_names(shards)
    if split not in names:
        place = f"{shards}/{FILE_NAME}" if isinstance(shards, str) else "data.shards"
        what = "name one with --split" if split != "train" else "pack with --rename-split NAME=train"
        raise ShardError(f"{place}: has no split {split!r}{nearest(split, names)}; {what}")
    if isinstance(shards, str):
        return [(os.path.join(shards, entry.name), entry) for entry in read_dataset(shards).splits[split]]
    given = shards[split]
    patterns = (given,) if isinstance(given, str) else given
    found = list(islice((path for pattern in patterns for path in _expand(pattern)), MAX_SHARDS + 1))
    if not found or len(found) > MAX_SHARDS:
        raise ShardError(f"data.shards.{split}: names {'no' if not found else 'over a million'} shards")
    path, count = Counter(found).most_common(1)[0]
    if count > 1:
        raise ShardError(f"data.shards.{split}: {path} is named twice")
    return [(path, None) for path in found]


def index_addresses(
    indexes: Mapping[str, str | Sequence[str]] | None, split: str, shards: int
) -> Sequence[str | None]:
    """Where the indexes of a split's shards are, in their order; None = beside them.

    Raises:
        ShardError: there are not as many as shards.
    """
    given = (indexes or {}).get(split)
    if given is None:
        return [None] * shards
    patterns = (given,) if isinstance(given, str) else given
    found = list(islice((path for pattern in patterns for path in _expand(pattern)), MAX_SHARDS + 1))
    if len(found) != shards:
        raise ShardError(f"data.indexes.{split}: names {len(found)} indexes for {shards} shards")
    return found


def _expand(pattern: str) -> Iterator[str]:
    """Brace ranges as in a shell: ``train-{000000..000003}.tar``."""
    if os.path.exists(pattern):  # a file may well have braces in its name
        return iter((pattern,))
    for first, last in _RANGE.findall(pattern):  # braceexpand would build all of a range in memory
        if abs(int(last) - int(first)) > MAX_SHARDS:
            raise ShardError(f"{pattern}: names over a million shards")
    try:
        return iter(braceexpand(pattern, escape=False))
    except ValueError as error:
        raise ShardError(f"{pattern}: {error}") from None
