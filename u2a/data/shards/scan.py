"""One strict pass over a shard: what webdataset would swallow in silence is an error here.

Truncation, duplicate or scattered members, lost, empty or undeclared ones, links, unsafe and reserved
names: each is a `ShardError` that names the file and the member.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from u2a.data.shards.members import Found, Member, SampleReader, Scan
from u2a.data.shards.names import MemberNames
from u2a.data.shards.own_samples import read_own_sample
from u2a.data.shards.samples import split_member
from u2a.data.shards.tar_headers import tar_headers
from u2a.errors import ShardError

#: More than any sample needs to declare itself; a larger one is damage or mischief.
MAX_JSON_BYTES = 1 << 20
#: Every sample has a place in the column of every modality of its shard.
MAX_MODALITIES = 64


def scan_shard(
    path: Path,
    modalities: Sequence[str] = (),
    reader: SampleReader | None = None,
    names: MemberNames | None = None,
) -> Scan:
    """Read every header, and every member that describes others, of a shard.

    Args:
        path: an uncompressed tar.
        modalities: columns that the result has, in this order, even if no sample has them.
        reader: what a sample's members mean; by default the json member declares it (`read_own_sample`).
        names: how the names of a shard made elsewhere are read.

    Raises:
        ShardError: names the file and the member that cannot be trusted.
    """
    scan = Scan()
    for modality in modalities:
        scan.column(modality)
    try:
        with open(path, "rb") as stream:
            scan.bytes = os.fstat(stream.fileno()).st_size
            scan.sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            for found in _read_all(path, stream, scan.bytes, reader or read_own_sample, names):
                if len(scan.spans.keys() | found[2].keys()) > MAX_MODALITIES:
                    raise ShardError(
                        f"{path}: sample {found[0]!r}: over {MAX_MODALITIES} modalities in one shard"
                    )
                scan.add(*found)
    except OSError as error:
        raise ShardError(f"{path}: cannot be read: {error.strerror}") from error
    if not len(scan):
        lost = names.left_out if names else []
        left = f"; {len(lost)} files were left out: {lost[0]!r} ..." if lost else ""
        raise ShardError(f"{path}: holds no samples{left}")
    return scan


def read_samples(path: Path, reader: SampleReader, names: MemberNames | None = None) -> Iterator[Found]:
    """The samples of a shard from its headers and describing members alone.

    Raises:
        ShardError: as `scan_shard`.
    """
    try:
        with open(path, "rb") as stream:
            yield from _read_all(path, stream, os.fstat(stream.fileno()).st_size, reader, names)
    except OSError as error:
        raise ShardError(f"{path}: cannot be read: {error.strerror}") from error


def _read_all(
    path: Path, stream: BinaryIO, size: int, reader: SampleReader, names: MemberNames | None
) -> Iterator[Found]:
    for name, members in _samples(path, stream, size, names):
        found = _read(path, stream, reader, name, members)
        if found is not None:
            yield found
        elif names is not None:
            names.left_out += [f"{name}.{suffix}" for suffix in members]


def _samples(
    path: Path, stream: BinaryIO, size: int, names: MemberNames | None
) -> Iterator[tuple[str, dict[str, Member]]]:
    """Group adjacent members by name; check that each name occurs in one place and each suffix once."""
    done: set[str] = set()
    current: str | None = None
    members: dict[str, Member] = {}
    for info in tar_headers(path, stream, size):
        if names is not None and names.leaves_out(info.name):
            continue
        name, suffix = _checked_name(path, info, last_dot=names is not None and names.last_dot)
        if name != current:
            if current is not None:
                yield current, members
                done.add(current)
            if name in done:
                raise ShardError(f"{path}: {info.name}: the members of {name!r} are not next to each other")
            current, members = name, {}
        if suffix in members:
            raise ShardError(f"{path}: {info.name}: is there twice")
        members[suffix] = Member(suffix, info.offset_data, info.size)
    if current is not None:
        yield current, members


def _checked_name(path: Path, info: tarfile.TarInfo, *, last_dot: bool) -> tuple[str, str]:
    if not info.isreg() or info.issparse():
        raise ShardError(f"{path}: {info.name!r}: is a link, device or sparse file, not a regular file")
    try:
        return split_member(info.name, last_dot=last_dot)
    except ValueError as error:
        raise ShardError(f"{path}: {info.name!r}: {error}") from None


def _read(
    path: Path, stream: BinaryIO, reader: SampleReader, name: str, members: dict[str, Member]
) -> Found | None:
    def read(member: Member) -> bytes:
        if member.size > MAX_JSON_BYTES:
            full = f"{name}.{member.suffix}"
            raise ValueError(f"{full}: has {member.size} bytes, over the limit of {MAX_JSON_BYTES}")
        return os.pread(stream.fileno(), member.size, member.offset)

    try:
        return reader(name, members, read)
    except ValueError as error:
        raise ShardError(f"{path}: {error}") from None
