"""Indexing WebDataset shards that were made elsewhere: their extensions are mapped to modalities.

Such shards declare nothing, so the person who indexes them does: which extension is which modality, which
modalities a sample may lack, what is ignored, where the label is. Everything else is an error that names file
and member. The declaration is stored in the index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path
from typing import Any, Literal

from u2a.common.files import replacing
from u2a.data.shards.dataset import FILE_NAME, LOCK_NAME, DatasetFile, ShardEntry, fingerprint, read_dataset
from u2a.data.shards.index import IndexInfo, Mapping, ShardIndex, check_ours, index_path, write_index
from u2a.data.shards.index_checks import check_index
from u2a.data.shards.labels import LabelRule, Numbers, label_texts
from u2a.data.shards.names import DOCUMENTS, MemberNames, ignore_pattern
from u2a.data.shards.samples import Sample
from u2a.data.shards.scan import Found, Member, read_samples
from u2a.data.shards.writer import shard_entry
from u2a.data.storage.locks import EXCLUSIVE, Lock
from u2a.errors import ShardError, U2AError

JSON_LABEL = "json:"


@dataclass(frozen=True)
class ForeignReader:
    """Reads one sample of a foreign shard (`u2a.data.shards.scan.SampleReader`).

    Attributes:
        mapping: what was declared; ``mapping.label`` is an extension such as ``cls``, or ``json:KEY``.
        rule: what labels mean.
        look: only take note of the labels (see `u2a.data.shards.labels`).
    """

    mapping: Mapping
    rule: LabelRule = field(default_factory=lambda: LabelRule(()))
    look: bool = False

    def __call__(self, name: str, members: dict[str, Member], read: Callable[[Member], bytes]) -> Found | None:
        if members.keys() <= DOCUMENTS - self._telling - set(self.mapping.ignored):
            return None
        self._check_known(name, members)
        found = {m: self._pick(name, m, members) for m in self.mapping.modalities}
        present = {m: member for m, member in found.items() if member is not None}
        if not present:
            raise ValueError(f"sample {name!r}: has no member of any modality")
        labels = self._labels(name, members, read)
        return name, Sample(present=tuple(present), labels=labels), present

    @property
    def _telling(self) -> set[str]:
        """Extensions that make members a sample."""
        mapped = {suffix for suffixes in self.mapping.modalities.values() for suffix in suffixes}
        return mapped | set(filter(None, [self._label_suffix]))

    @property
    def _label_suffix(self) -> str | None:
        label = self.mapping.label
        return "json" if label and label.startswith(JSON_LABEL) else label

    def _check_known(self, name: str, members: dict[str, Member]) -> None:
        for suffix in sorted(members.keys() - self._telling - set(self.mapping.ignored)):
            last = suffix.rpartition(".")[2]
            dots = f", or cut names at their last dot: --last-dot (then this is {last})"
            raise ValueError(
                f"{name}.{suffix}: is mapped to nothing; add --map {suffix}=MODALITY or --ignore {suffix}"
                + (dots if last != suffix and last in self._telling else "")
            )

    def _pick(self, name: str, modality: str, members: dict[str, Member]) -> Member | None:
        lacking = modality in self.mapping.may_lack
        here = [
            s for s in self.mapping.modalities[modality] if s in members and (members[s].size or not lacking)
        ]
        if len(here) > 1:
            raise ValueError(f"sample {name!r}: {here[0]} and {here[1]} are two members for {modality}")
        if not here:
            if lacking:  # img2dataset writes an empty member for a text that there is not
                return None
            wanted = " or ".join(f"{name}.{suffix}" for suffix in self.mapping.modalities[modality])
            raise ValueError(
                f"sample {name!r}: {wanted} is lost or not next to the sample's other members; "
                f"if samples may lack {modality}: --missing-ok {modality}"
            )
        member = members[here[0]]
        if not member.size:
            raise ValueError(
                f"{name}.{here[0]}: is empty; if the sample lacks {modality} then: --missing-ok {modality}"
            )
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
            texts = label_texts(self._label_value(read(members[suffix])))
            if texts is None:
                return None
            if self.look:
                self.rule.see(texts)
                return None
            return self.rule.resolve(texts)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}.{suffix}: {error}") from None

    def _label_value(self, data: bytes) -> Any:
        label = str(self.mapping.label)
        if not label.startswith(JSON_LABEL):
            if text := data.decode().strip():
                return text
            raise ValueError("'' is not a label")
        try:
            value = json.loads(data)
        except ValueError:
            raise ValueError("is not JSON") from None
        for part in label.removeprefix(JSON_LABEL).split("."):
            if not isinstance(value, dict) or part not in value:
                raise ValueError(f"has no {label.removeprefix(JSON_LABEL)!r}")
            value = value[part]
        return value


def parse_mapping(
    pairs: Sequence[str],
    *,
    may_lack: Sequence[str],
    ignored: Sequence[str],
    label: str | None,
    numbers: Numbers | None = None,
    last_dot: bool = False,
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
        ignored=tuple(map(ignore_pattern, ignored)),
        label=label if label is None or label.startswith(JSON_LABEL) else _suffix(label),
        numbers=numbers,
        last_dot=last_dot or None,
    )


def _suffix(extension: str) -> str:
    """An extension as scans tell it, however a person writes it: ``.JPG`` is ``jpg``."""
    return extension.lower().lstrip(".")


def index_shards(
    shards: Sequence[Path],
    mapping: Mapping | None = None,
    classes: Sequence[str] = (),
    on_shard: Callable[[Path, IndexInfo], None] = lambda shard, info: None,
    *,
    folder: Path | None = None,
    tell: Callable[[str], None] = lambda note: None,
) -> list[IndexInfo]:
    """Write an index beside each shard; without a mapping they are this package's own.

    Args:
        shards: tar files.
        mapping, classes: what the person declared about shards made elsewhere.
        on_shard: called as each index is written.
        folder: where the indexes go instead.
        tell: called with what a person should know, a line each.

    Raises:
        ShardError: the first shard that cannot be trusted; those before it have their index.
    """
    paths = _index_paths(shards, folder)
    rule = LabelRule(classes, mapping.numbers if mapping else None)
    left_out: list[str] = []

    def one(shard: Path, path: Path) -> tuple[IndexInfo, list[str]]:
        if mapping is None:
            return write_index(shard, path=path), []
        names = _member_names(mapping)
        reader = ForeignReader(mapping, rule)
        order = tuple(mapping.modalities)
        info = write_index(shard, order, reader=reader, mapping=mapping, names=names, path=path)
        return info, names.left_out

    for path in paths:
        check_ours(path)
    if mapping is not None and mapping.label and classes:
        _decide(shards, mapping, rule)
    infos = []
    with ThreadPoolExecutor(cpu_count()) as pool:
        for shard, (info, names) in zip(shards, pool.map(one, shards, paths), strict=True):
            on_shard(shard, info)
            infos.append(info)
            left_out += names
    for note in (*rule.told(), *_left_out(left_out)):
        tell(note)
    return infos


def _index_paths(shards: Sequence[Path], folder: Path | None) -> list[Path]:
    if folder is None:
        return [index_path(shard) for shard in shards]
    paths = [folder / index_path(shard).name for shard in shards]
    if len(set(paths)) != len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise U2AError(f"{twice}: would be the index of two shards; give each folder's shards an --index-dir")
    folder.mkdir(parents=True, exist_ok=True)
    return paths


def _member_names(mapping: Mapping) -> MemberNames:
    return MemberNames(mapping.ignored, bool(mapping.last_dot))


def _decide(shards: Sequence[Path], mapping: Mapping, rule: LabelRule) -> None:
    """Look at all labels before any index is written: what numbers are shows in all of them together."""
    reader = ForeignReader(mapping, rule, look=True)
    for shard in shards:
        for _ in read_samples(shard, reader, _member_names(mapping)):
            pass
    try:
        rule.decide()
    except ValueError as error:
        raise ShardError(f"{shards[0]}{' ...' * (len(shards) > 1)}: {error}") from None


def _left_out(names: Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(map(repr, names[:3])) + (" ..." if len(names) > 3 else "")
    return [f"{len(names)} files that belong to no sample were left out: {shown}"]


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
        with replacing(path) as stream:
            stream.write(described.model_dump_json(indent=1).encode() + b"\n")
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
