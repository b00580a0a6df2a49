"""Indexing WebDataset shards that were made elsewhere: their extensions are mapped to modalities.

Such shards declare nothing, so the person who indexes them does: which extension is which modality, which
modalities a sample may lack, what is ignored, where the label is. Everything else is an error that names file
and member. The declaration is stored in the index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any, Literal

from u2a.common.files import replacing
from u2a.data.shards.dataset import FILE_NAME, DatasetFile, ShardEntry, fingerprint, read_dataset
from u2a.data.shards.index import IndexInfo, Mapping, ShardIndex, write_index
from u2a.data.shards.index_checks import check_index
from u2a.data.shards.samples import Sample
from u2a.data.shards.scan import Found, Member
from u2a.data.shards.writer import shard_entry
from u2a.errors import U2AError

JSON_LABEL = "json:"


@dataclass(frozen=True)
class ForeignReader:
    """Reads one sample of a foreign shard (`u2a.data.shards.scan.SampleReader`).

    Attributes:
        mapping: what was declared; ``mapping.label`` is an extension such as ``cls``, or ``json:KEY``.
        classes: class names; a label that is a whole number is a place in them.
    """

    mapping: Mapping
    classes: tuple[str, ...] = ()

    def __call__(self, name: str, members: dict[str, Member], read: Callable[[Member], bytes]) -> Found:
        self._check_known(name, members)
        found = {m: self._pick(name, m, members) for m in self.mapping.modalities}
        present = {m: member for m, member in found.items() if member is not None}
        if not present:
            raise ValueError(f"sample {name!r}: has no member of any modality")
        names = self._labels(name, members, read)
        try:
            sample = Sample(present=tuple(present), labels=names)
        except ValueError:
            raise ValueError(f"sample {name!r}: has a label twice") from None
        return name, sample, present

    @property
    def _label_suffix(self) -> str | None:
        label = self.mapping.label
        return "json" if label and label.startswith(JSON_LABEL) else label

    def _check_known(self, name: str, members: dict[str, Member]) -> None:
        known = {suffix for suffixes in self.mapping.modalities.values() for suffix in suffixes}
        known |= {*self.mapping.ignored, *filter(None, [self._label_suffix])}
        for suffix in members.keys() - known:
            raise ValueError(
                f"{name}.{suffix}: is mapped to nothing; add --map {suffix}=MODALITY or --ignore {suffix}"
            )

    def _pick(self, name: str, modality: str, members: dict[str, Member]) -> Member | None:
        here = [suffix for suffix in self.mapping.modalities[modality] if suffix in members]
        if len(here) > 1:
            raise ValueError(f"sample {name!r}: {here[0]} and {here[1]} are two members for {modality}")
        if not here:
            if modality in self.mapping.may_lack:
                return None
            wanted = " or ".join(f"{name}.{suffix}" for suffix in self.mapping.modalities[modality])
            raise ValueError(
                f"sample {name!r}: {wanted} is lost or not next to the sample's other members; "
                f"if samples may lack {modality}: --missing-ok {modality}"
            )
        member = members[here[0]]
        if not member.size:
            raise ValueError(f"{name}.{here[0]}: is empty")
        return Member(f"{modality}.{here[0].rpartition('.')[2]}", member.offset, member.size)

    def _labels(
        self, name: str, members: dict[str, Member], read: Callable[[Member], bytes]
    ) -> tuple[str, ...] | None:
        suffix = self._label_suffix
        if suffix is None:
            return None
        if suffix not in members:
            raise ValueError(f"sample {name!r}: {name}.{suffix}, which holds its label, is lost")
        try:
            value = self._label_value(read(members[suffix]))
            values = value if isinstance(value, list) else [value]
            return tuple(self._class_name(one) for one in values)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}.{suffix}: {error}") from None

    def _label_value(self, data: bytes) -> Any:
        label = str(self.mapping.label)
        if not label.startswith(JSON_LABEL):
            return data.decode().strip()
        try:
            value = json.loads(data)
        except ValueError:
            raise ValueError("is not JSON") from None
        for part in label.removeprefix(JSON_LABEL).split("."):
            if not isinstance(value, dict) or part not in value:
                raise ValueError(f"has no {label.removeprefix(JSON_LABEL)!r}")
            value = value[part]
        return value

    def _class_name(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise ValueError(f"{value!r} is not a label")
        text = str(value)
        if not self.classes or text in self.classes:
            return text
        if text.isascii() and text.isdigit() and int(text) < len(self.classes):
            return self.classes[int(text)]
        raise ValueError(f"label {text!r} is none of the {len(self.classes)} classes, nor a place in them")


def parse_mapping(
    pairs: Sequence[str], *, may_lack: Sequence[str], ignored: Sequence[str], label: str | None
) -> Mapping:
    """``["jpg=image", "png=image"]`` and so on as a `Mapping`.

    Raises:
        U2AError: not of that form, or names something that is not mapped.
    """
    modalities: dict[str, list[str]] = {}
    for pair in pairs:
        suffix, equals, modality = pair.partition("=")
        if not (suffix and equals and modality.isidentifier() and modality == modality.lower()):
            raise U2AError(f"--map {pair}: expected EXTENSION=MODALITY, e.g. --map jpg=image")
        modalities.setdefault(modality, []).append(_suffix(suffix))
    for modality in may_lack:
        if modality not in modalities:
            raise U2AError(f"--missing-ok {modality}: no extension is mapped to it")
    return Mapping(
        modalities={name: tuple(dict.fromkeys(suffixes)) for name, suffixes in modalities.items()},
        may_lack=tuple(may_lack),
        ignored=tuple(map(_suffix, ignored)),
        label=label if label is None or label.startswith(JSON_LABEL) else _suffix(label),
    )


def _suffix(extension: str) -> str:
    """An extension as scans tell it, however a person writes it: ``.JPG`` is ``jpg``."""
    return extension.lower().lstrip(".")


def index_shards(
    shards: Sequence[Path],
    mapping: Mapping | None = None,
    classes: Sequence[str] = (),
    on_shard: Callable[[Path, IndexInfo], None] = lambda shard, info: None,
) -> list[IndexInfo]:
    """Write an index beside each shard; without a mapping they are this package's own.

    Raises:
        ShardError: the first shard that cannot be trusted; those before it have their index.
    """

    def one(shard: Path) -> IndexInfo:
        if mapping is None:
            return write_index(shard)
        return write_index(
            shard, tuple(mapping.modalities), reader=ForeignReader(mapping, tuple(classes)), mapping=mapping
        )

    infos = []
    with ThreadPoolExecutor(cpu_count()) as pool:
        for shard, info in zip(shards, pool.map(one, shards), strict=True):
            on_shard(shard, info)
            infos.append(info)
    return infos


def add_split(shards: Sequence[Path], split: str) -> Path:
    """Name indexed shards of one folder as a split in the folder's dataset.json, which is made if need be.

    Raises:
        U2AError: they lie in several folders, or another split has one of them.
    """
    folders = {shard.parent for shard in shards}
    if len(folders) != 1:
        raise U2AError(f"--split {split}: the shards must lie in one folder, not in {len(folders)}")
    folder = folders.pop()
    path = folder / FILE_NAME
    splits = dict(read_dataset(str(folder)).splits) if path.exists() else {}
    for shard in shards:
        for other, entries in splits.items():
            if other != split and shard.name in {entry.name for entry in entries}:
                raise U2AError(f"{shard}: belongs to split {other!r} already")
    splits[split] = tuple(shard_entry(shard, ShardIndex(shard).info) for shard in shards)
    with replacing(path) as stream:
        stream.write(_describe(folder, splits).model_dump_json(indent=1).encode() + b"\n")
    return path


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
