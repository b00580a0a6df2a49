"""WebDataset shards that were made elsewhere: their extensions are mapped to modalities.

Such shards declare nothing, so the person who indexes them does: which extension is which modality, which
modalities a sample may lack, what is ignored, where the label is. Everything else is an error that names file
and member. The declaration is stored in the index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from u2a.common.values import once
from u2a.data.shards.index import Mapping
from u2a.data.shards.label_rule import LabelRule, Numbers
from u2a.data.shards.labels import label_texts
from u2a.data.shards.members import Found, Member
from u2a.data.shards.names import DOCUMENTS, ignore_pattern
from u2a.data.shards.samples import Sample
from u2a.errors import U2AError

JSON_LABEL = "json:"


@dataclass(frozen=True)
class ForeignReader:
    """Reads one sample of a foreign shard (`u2a.data.shards.scan.SampleReader`).

    Attributes:
        mapping: what was declared; ``mapping.label`` is an extension such as ``cls``, or ``json:KEY``.
        rule: what labels mean.
        look: only take note of the labels (see `u2a.data.shards.label_rule`).
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
            if text := _decoded(data).strip():
                return text
            raise ValueError("is empty, and no label")
        try:
            value = json.loads(_decoded(data), object_pairs_hook=once)
        except json.JSONDecodeError:
            raise ValueError("is not JSON") from None
        if isinstance(value, dict) and (key := label.removeprefix(JSON_LABEL)) in value:
            return value[key]
        for part in label.removeprefix(JSON_LABEL).split("."):
            if not isinstance(value, dict) or part not in value:
                raise ValueError(f"has no {label.removeprefix(JSON_LABEL)!r}")
            value = value[part]
        return value


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            "is no UTF-8 text" + (", but a NumPy array" if data[:6] == b"\x93NUMPY" else "")
        ) from None


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


def label_within(mapping: Mapping) -> str | None:
    """What a person should know if the members that hold the label are a modality as well."""
    if mapping.label is None:
        return None
    holds = "json" if mapping.label.startswith(JSON_LABEL) else mapping.label
    for name, suffixes in mapping.modalities.items():
        if holds in suffixes:
            return (
                f"{name} is read from {holds} members, which hold the label as well: a model may read it there"
            )
    return None


def _suffix(extension: str) -> str:
    """An extension as scans tell it, however a person writes it: ``.JPG`` is ``jpg``."""
    return extension.lower().lstrip(".")
