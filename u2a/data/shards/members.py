"""What a shard holds: members, samples, and the columns they fill."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from u2a.data.shards.samples import Sample


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
