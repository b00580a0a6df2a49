"""Which modality reads a column, as the plugins say it: by extension, by the column's name, by a look."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from u2a.common.values import looks_like_file, short
from u2a.contract.blame import ending_nothing
from u2a.contract.modality import ModalitySpec, Suggestion
from u2a.contract.names import MODALITY
from u2a.errors import U2AError
from u2a.media.magic import extension_of
from u2a.plugins.registry import Registry
from u2a.starting.columns import Column
from u2a.starting.files import Files
from u2a.starting.members import members_of, reads

#: The share of a column's files, and their number, from which on what a plugin reads of them is a modality.
LEAST_SHARE, LEAST = 0.05, 3
#: More columns of one kind that are left out are told in one line.
MOST_LINES = 8
_GENERIC = re.compile(
    r"(file|path|filename|file_?name|file_?path|img|image_?path|uri|((image|sample|item)_?)?id|name|key)s?|.*[./].*"
)


@dataclass
class Content:
    """A modality to be: where its cells come from and what the recipe says of it.

    Attributes:
        columns: where to look, the first that is not empty.
        inline: whether cells are the text itself.
        asked: columns of which each member has to be shown to the plugin: others read the same files.
        said: whether the person says what the cells are, so that words for nothing are texts.
    """

    name: str
    spec: ModalitySpec
    columns: list[str]
    suggestion: Suggestion
    inline: bool = False
    asked: set[str] = field(default_factory=set)
    said: bool = False


@dataclass
class Finder:
    """Finds what modalities there are.

    Attributes:
        kinds: what the person says a column is.
        given: options by modality or kind, e.g. an encoder's folder.
        notes: what was left out, and why.
    """

    plugins: Registry
    files: Files
    size: str
    kinds: Mapping[str, str]
    given: Mapping[str, Mapping[str, Any]]
    path: str
    notes: list[str] = field(default_factory=list)
    _left: dict[str, list[str]] = field(default_factory=dict)

    def find(self, columns: Sequence[Column]) -> list[Content]:
        """The modalities of the columns, each with a name of its own.

        Raises:
            U2AError: a column names files that are not there, or nothing is left.
        """
        found: list[Content] = []
        for column in columns:
            for one in self._contents(column):
                same = next((c for c in found if c.columns[0].startswith("*.") and c.spec is one.spec), None)
                if same is not None and column.name.startswith("*."):
                    same.columns.append(column.name)
                    same.asked |= one.asked
                else:
                    found.append(one)
        self.notes += self._left_out()
        if not found:
            left = "; ".join(self.notes) or "its columns are empty"
            text = "; if one of them is a text: --kind COLUMN=text" if self._left else ""
            raise U2AError(f"{self.path}: nothing to learn from: {left}{text}")
        known = {n for one in found for n in (one.spec.name, *one.columns)}
        if odd := [name for name in self.given if name not in known]:
            raise U2AError(f"--encoder {odd[0]}=...: no such modality; there are {', '.join(sorted(known))}")
        self._name(found)
        return found

    def _left_out(self) -> Iterator[str]:
        """Columns that hold nothing for a modality, a line each; many of one kind in one line."""
        for why, names in self._left.items():
            if len(names) > MOST_LINES:
                yield f"{len(names)} columns ({why}) are left out: {', '.join(map(repr, names[:3]))} ..."
            else:
                yield from (f"column {name!r} ({why}) is left out" for name in names)

    def names_files(self, column: Column) -> bool:
        """Whether most cells are names of files that plugins read, be they there or not."""
        names = [value for value in column.examples if isinstance(value, str)]
        return 2 * sum(map(self._file_name, names)) > len(column.examples)

    def _file_name(self, value: str) -> bool:
        known = {e for spec in self.plugins.specs.values() for e in spec.extensions}
        return looks_like_file(value) and value.rpartition(".")[2].lower() in known

    def _contents(self, column: Column) -> Iterator[Content]:
        if not column.filled:
            self.notes.append(f"column {column.name!r} is empty and is left out")
            return
        members = dict(self._members(column))
        if members:
            yield from self._of_members(column, list(members.values()), [key[1] for key in members])
            return
        forced = self.kinds.get(column.name)
        meant = column.prose or (column.name.casefold() == "text" and column.all_are(str))
        kind = forced or ("txt" if meant else None)
        if kind is None:
            self._left.setdefault(_what(column), []).append(column.name)
            return
        texts = [str(value).encode(errors="replace") for value in column.examples]
        for name, spec in self._candidates(column, {"txt"}):
            if (suggestion := self._suggest(name, spec, column, texts)) is not None:
                said = forced is not None
                yield Content(column.name, spec, [column.name], suggestion, inline=True, said=said)
                return
        self.notes.append(f"column {column.name!r} (text) is left out: no installed plugin reads it")

    def _members(self, column: Column) -> Iterator[tuple[tuple[int, str], bytes]]:
        """Bytes of some cells from all over the column, with their extension."""
        if column.amounts:
            return
        names = [value for value in column.examples if isinstance(value, str)]
        found = [(value, self.files.find(value)) for value in names]
        missing = [value for value, path in found if path is None]
        if names and len(missing) > len(names) / 2:
            named = [value for value in missing if self._file_name(value)]
            if len(named) > 0.9 * len(names) and not column.addresses and self.kinds.get(column.name) != "text":
                raise U2AError(
                    f"{self.path}: column {column.name!r} names files that cannot be found (for example "
                    f"{short(named[0])}: {self.files.why(named[0])}); say where they are with --root DIR, or "
                    f"leave it out with --ignore {column.name!r}"
                )
            return
        yield from members_of(column, self.files)

    def _of_members(self, column: Column, members: list[bytes], extensions: list[str]) -> Iterator[Content]:
        every = [e for spec in self.plugins.specs.values() for e in spec.extensions]
        known = [e or extension_of(m, every) for e, m in zip(extensions, members, strict=True)]
        common = {e for e, _ in Counter(known).most_common(8)}
        chosen = []
        meant = self._candidates(column, common)
        for name, spec in meant:
            own = [member for member in members if reads(spec, self.size, member)]
            if self._few(column, name, len(own), len(members)):
                continue
            if (suggestion := self._suggest(name, spec, column, own)) is not None:
                chosen.append(Content(column.name, spec, [column.name], suggestion))
        self._others(column, [name for name, _ in meant], common, members)
        if not chosen:
            shown = ", ".join(sorted(f".{e}" for e in common)[:5])
            self.notes.append(
                f"column {column.name!r} is left out: no installed plugin reads its files ({shown})"
            )
        for one in chosen:
            if len(chosen) > 1:
                one.name, one.asked = one.spec.name, {column.name}
        yield from chosen

    def _others(
        self, column: Column, meant: Sequence[str], extensions: set[str], members: Sequence[bytes]
    ) -> None:
        """Say what the one plugin that is meant leaves of the files, such as the sound of films."""
        for name, spec in self.plugins.specs.items():
            if name not in meant and spec.suggest is not None and extensions & set(spec.extensions):
                own = sum(reads(spec, self.size, member) for member in members)
                if own >= LEAST_SHARE * len(members) and own:
                    self.notes.append(
                        f"column {column.name!r}: {own} of {len(members)} files looked at hold what {name} "
                        f"reads as well, which is left out: the column is {meant[0]} by its name or --kind"
                    )

    def _few(self, column: Column, kind: str, own: int, looked_at: int) -> bool:
        """Whether a plugin reads none of a column's files, or so few that they are told and left out."""
        few = own < LEAST_SHARE * looked_at or (own < LEAST and 2 * own < looked_at)
        if few and own:
            self.notes.append(
                f"column {column.name!r}: only {own} of {looked_at} files looked at hold what {kind} reads, "
                "which is left out"
            )
        return few or not own

    def _candidates(self, column: Column, extensions: set[str]) -> list[tuple[str, ModalitySpec]]:
        """Plugins that read such files: the one that is meant, else all that know how to look at them."""
        forced = self.kinds.get(column.name)
        if forced is not None:
            return [(self.plugins.kind(forced), self.plugins.spec(forced))]
        fitting = {n: s for n, s in self.plugins.specs.items() if extensions & set(s.extensions)}
        plain = column.name.casefold().removesuffix("_path")
        if plain in fitting:
            return [(plain, fitting[plain])]
        known = [(n, s) for n, s in fitting.items() if s.suggest is not None]
        return known or [(n, s) for n, s in fitting.items() if not _asks(s, self.given.get(n, {}))][:1]

    def _suggest(
        self, kind: str, spec: ModalitySpec, column: Column, members: Sequence[bytes]
    ) -> Suggestion | None:
        plain = column.name.casefold().removesuffix("_path")
        given = {**self.given.get(spec.name, {}), **self.given.get(plain, {})}
        if spec.suggest is None:
            return Suggestion(given)
        with ending_nothing(f"modality {spec.name!r}: suggest"):
            return spec.suggest(self.size, members, given)

    def _name(self, found: Sequence[Content]) -> None:
        names: Counter[str] = Counter()
        for one in found:
            plain = re.sub(r"[^a-z0-9]+", "_", one.name.casefold().removesuffix("_path")).strip("_")
            single = sum(other.spec is one.spec for other in found) == 1
            if (single and _GENERIC.fullmatch(one.name.casefold())) or not re.match(r"[a-z]", plain):
                plain = one.spec.name
            if plain in MODALITY or plain.endswith("_path"):
                plain = f"the_{plain.removesuffix('_path')}"
            names[plain] += 1
            one.name = plain if names[plain] == 1 else f"{plain}_{names[plain]}"


def _asks(spec: ModalitySpec, given: Mapping[str, Any]) -> bool:
    """Whether a modality has options that nobody but the person can choose."""
    fields = spec.options.model_fields
    return any(field.is_required() for name, field in fields.items() if name not in (*given, "kind", "encoder"))


def _what(column: Column) -> str:
    if column.addresses:
        return "addresses: download the files first"
    if column.numeric:
        return "numbers"
    if column.figures:
        return "dates, lists of numbers or amounts, no text"
    if column.all_are(str):
        return "words or codes, no text"
    return f"values like {short(column.examples[0])}"
