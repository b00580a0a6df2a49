"""One strict pass over a shard: what webdataset would swallow in silence is an error here.

Truncation, duplicate or scattered members, lost, empty or undeclared ones, links, unsafe and reserved
names: each is a `ShardError` that names the file and the member.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from u2a.data.shards.names import MemberNames
from u2a.data.shards.samples import Sample, encode_key, parse_sample, split_member, split_suffix
from u2a.data.shards.tar_headers import tar_headers
from u2a.errors import ShardError

#: More than any sample needs to declare itself; a larger one is damage or mischief.
MAX_JSON_BYTES = 1 << 20
#: Every sample has a place in the column of every modality of its shard.
MAX_MODALITIES = 64


@dataclass(frozen=True)
class Member:
    """One file of a sample: its suffix without the key, and where its bytes are."""

    suffix: str
    offset: int
    size: int


@dataclass
class Scan:
    """What a shard holds, as growing columns. S samples; `spans` has an offset and a size a sample."""

    spans: dict[str, tuple[array[int], array[int]]] = field(default_factory=dict)
    extensions: dict[str, set[str]] = field(default_factory=dict)
    keys: bytearray = field(default_factory=bytearray)
    key_ends: array[int] = field(default_factory=lambda: array("q"))
    labelled: bytearray = field(default_factory=bytearray)
    label_ids: array[int] = field(default_factory=lambda: array("i"))
    label_ends: array[int] = field(default_factory=lambda: array("q"))
    groups: array[int] = field(default_factory=lambda: array("Q"))
    classes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    sha256: str = ""

    def __len__(self) -> int:
        return len(self.key_ends)

    def column(self, modality: str) -> tuple[array[int], array[int]]:
        """Offsets and sizes of a modality, -1 where a sample lacks it."""
        if modality not in self.spans:
            self.spans[modality] = (array("q", [-1]) * len(self), array("q", [-1]) * len(self))
            self.extensions[modality] = set()
        return self.spans[modality]

    def add(self, key: str, sample: Sample, found: dict[str, Member]) -> None:
        """Append one sample; `found` has one member for each present modality."""
        for modality, member in found.items():
            self.column(modality)
            self.extensions[modality].add(member.suffix.partition(".")[2])
        for modality, (offsets, sizes) in self.spans.items():
            member_or_none = found.get(modality)
            offsets.append(member_or_none.offset if member_or_none else -1)
            sizes.append(member_or_none.size if member_or_none else -1)
        self.keys += key.encode()
        self.key_ends.append(len(self.keys))
        names = sample.classes()
        self.labelled.append(names is not None)
        self.label_ids.extend(self.classes.setdefault(name, len(self.classes)) for name in names or ())
        self.label_ends.append(len(self.label_ids))
        self.groups.append(0 if sample.group is None else stable_hash(sample.group.encode()))


def stable_hash(data: bytes) -> int:
    """64 bits of a content, never 0."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


Found = tuple[str, Sample, dict[str, Member]]
"""A sample's key, its declaration, and one member for each present modality."""

SampleReader = Callable[[str, dict[str, Member], Callable[[Member], bytes]], Found | None]
"""Called with a sample's name, its members by suffix, and what reads a member that describes others.

None: these members are no sample, and are left out.

Raises:
    ValueError: one line that says what is wrong, member or sample first.
"""


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


def read_own_sample(name: str, members: dict[str, Member], read: Callable[[Member], bytes]) -> Found:
    """A sample of this package's own shards: its json member declares it (see `u2a.data.shards.samples`)."""
    if "json" not in members:
        raise ValueError(
            f"sample {name!r}: has no {name}.json next to its members to declare its modalities; "
            "shards made elsewhere are indexed with --map"
        )
    for suffix, member in members.items():
        if suffix != "json":
            try:
                split_suffix(suffix)
            except ValueError as error:
                raise ValueError(f"{name + '.' + suffix!r}: {error}") from None
        if not member.size:
            raise ValueError(f"{name}.{suffix}: is empty; a missing modality is left out of 'present' instead")
    data = read(members.pop("json"))
    try:
        sample = parse_sample(data)
        key = _key(name, sample)
    except ValueError as error:
        raise ValueError(f"{name}.json: {error}") from None
    return key, sample, _match(name, sample, members)


def _key(name: str, sample: Sample) -> str:
    if sample.key is None or sample.key == name or encode_key(sample.key) == name:
        return sample.key or name
    raise ValueError(f"belongs to another sample: its key is {sample.key!r}")


def _match(name: str, sample: Sample, members: dict[str, Member]) -> dict[str, Member]:
    """The member of each present modality: every declaration kept, every member declared."""
    own: dict[str, Member] = {}
    for suffix, member in members.items():
        modality = suffix.partition(".")[0]
        if modality in own:
            other = own[modality].suffix
            raise ValueError(f"sample {name!r}: {other} and {suffix} are two members for one modality")
        own[modality] = member
    found = {}
    for modality in sample.present:
        shared = sample.members.get(modality)
        if shared is not None and modality in own and own[modality].suffix != shared:
            raise ValueError(f"sample {name!r}: {modality} has a member and points at {shared} as well")
        pick = own.get(modality) if shared is None else members.get(shared)
        if pick is None:
            wanted = f"{name}.{shared or modality + '.*'}"
            raise ValueError(
                f"sample {name!r}: declares {modality}, but {wanted} is lost "
                "or not next to the sample's other members"
            )
        found[modality] = pick
    used = {member.suffix for member in found.values()}
    if undeclared := sorted(members.keys() - used):
        raise ValueError(f"{name}.{undeclared[0]}: is there, but {name}.json does not declare it")
    return found
