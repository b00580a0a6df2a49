"""Rows of a source as samples of a manifest: what each modality has of them, their labels, what ties them."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from u2a.common.values import missing_word
from u2a.data.shards.twins import PLAIN
from u2a.errors import U2AError
from u2a.starting.columns import Roles, empty
from u2a.starting.content import Content
from u2a.starting.files import Files
from u2a.starting.labels import Labels
from u2a.starting.masks import is_mask
from u2a.starting.members import reads
from u2a.starting.moved import Moved
from u2a.starting.source import Source

SHOWN = 5
Cell = tuple[str, str | bytes]
"""A kind of cell (``text``, ``path`` or ``bytes``) and what it holds."""


@dataclass(frozen=True)
class Sample:
    """One sample; `labels` is None for an unlabelled one."""

    key: str
    split: str | None
    labels: tuple[str, ...] | None
    group: str | None
    cells: dict[str, Cell]

    def ties(self) -> Iterator[Hashable]:
        """What it shares with samples that belong into the same split: its group, its files, else its texts."""
        if self.group is not None:
            yield "group", self.group
        media = [cell for cell in self.cells.values() if _is_media(cell)]
        yield from media
        if not media:
            yield "texts", tuple(sorted((name, value) for name, (_, value) in self.cells.items()))


def _is_media(cell: Cell) -> bool:
    kind, value = cell
    return kind == "bytes" or (kind == "path" and str(value).rpartition(".")[2].lower() not in PLAIN)


def _called(cell: Cell) -> str:
    return str(cell[1]) if cell[0] == "path" else "embedded"


@dataclass
class Samples:
    """The samples of a source, in as many readings as are needed.

    Attributes:
        left_out: samples that have nothing, by reason.
        unused: further files of a sample for a modality that has one, by modality.
        words: cells that were taken as missing, by column and the word for nothing that they hold.
    """

    source: Source
    roles: Roles
    contents: Sequence[Content]
    labels: Labels
    files: Files
    size: str
    left_out: dict[str, int] = field(default_factory=dict)
    unused: dict[str, list[str]] = field(default_factory=dict)
    words: dict[str, Counter[str]] = field(default_factory=dict)
    _moved: dict[str, Moved] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Sample]:
        """Every labelled sample that has something.

        Raises:
            U2AError: files that are not there, the first few by line.
        """
        self.left_out, self.unused, self.words, self.files.by_name = {}, {}, {}, 0
        self.labels.begin()
        self._moved = defaultdict(Moved)
        lost: list[str] = []
        keys: set[str] = set()
        for number, (place, fields) in enumerate(self.source.rows(), 1):
            cells = self._cells(place, fields, lost)
            value = fields.get(self.roles.label)
            if self.labels.none(value):
                self._skip("without a label")
            elif not cells:
                self._skip("without anything to learn from")
            elif not lost:
                labels = self.labels.read(place, value)
                yield from self._samples(fields, cells, labels, f"{number:06d}", keys)
        for column, moved in self._moved.items():
            lost += (self._lost(place, column, value, f" ({why})") for place, value, why in moved.lost())
        if lost:
            more = [f"and {len(lost) - SHOWN} more"] if len(lost) > SHOWN else []
            hint = "empty the cell where a modality is missing, or say with --root DIR where the files are"
            raise U2AError("\n".join([*(f"{self.source.path}: {one}" for one in lost[:SHOWN]), *more, hint]))

    def _lost(self, place: str, column: str, value: str, why: str = "") -> str:
        return f"{place}: column {column!r}: {value[:60]!r}: {self.files.why(value)}{why}"

    def _skip(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1

    def _samples(
        self,
        fields: Mapping[str, Any],
        cells: dict[str, list[Cell]],
        labels: tuple[str, ...] | None,
        number: str,
        keys: set[str],
    ) -> Iterator[Sample]:
        given = fields.get(self.roles.key) if self.roles.key else None
        key = number if empty(given) else str(given)
        raw_split, group = fields.get(self.roles.split or ""), fields.get(self.roles.group or "")
        split = None if empty(raw_split) else self.roles.splits.get(str(raw_split)) or str(raw_split).strip()
        group = None if empty(group) else str(group)
        parts = self._parts(cells)
        together = group if group is not None or len(parts) == 1 else f"{number} {key}"
        for part in parts:
            own = str(next(iter(part.values()))[1]) if len(parts) > 1 else key
            if own in keys:
                own = f"{own} ({number})"
            keys.add(own)
            yield Sample(own, split, labels, together, part)

    def _parts(self, cells: Mapping[str, list[Cell]]) -> list[dict[str, Cell]]:
        """What a row holds, one cell a modality; several files of one modality alone are a sample each."""
        if len(cells) == 1:
            ((name, found),) = cells.items()
            return [{name: cell} for cell in found]
        readers = Counter(cell for found in cells.values() for cell in found)
        for name, found in cells.items():
            found.sort(key=lambda cell: (is_mask(_called(cell)), readers[cell]))
            if len(found) > 1:
                self.unused.setdefault(name, []).extend(map(_called, found[1:]))
        return [{name: found[0] for name, found in cells.items()}]

    def _cells(self, place: str, fields: Mapping[str, Any], lost: list[str]) -> dict[str, list[Cell]]:
        found: dict[str, list[Cell]] = {}
        for content in self.contents:
            for column in content.columns:
                value = fields.get(column)
                if empty(value):
                    continue
                if isinstance(value, str) and missing_word(value) and not (content.inline and content.said):
                    self.words.setdefault(column, Counter())[value.strip()] += 1
                    continue
                cell = self._cell(content, place, column, value)
                if cell is None:
                    lost.append(self._lost(place, column, str(value)))
                elif column not in content.asked or self._is_of(content, cell):
                    found.setdefault(content.name, []).append(cell)
        return found

    def told(self) -> Iterator[str]:
        """What was taken as missing or left out, a line each."""
        for content in self.contents:
            keep = f"; if they are texts: --kind {{}}={content.spec.name}" if content.inline else ""
            for column in content.columns:
                if words := self.words.get(column):
                    shown = ", ".join(f"{word!r} ({count})" for word, count in words.most_common(8))
                    said = f"{words.total()} cells of {column!r} say {shown} and were taken as missing"
                    yield said + keep.format(shlex.quote(column))
        for name, paths in self.unused.items():
            said = f"modality {name}: {len(paths)} files are not read for it"
            yield f"{said}, whose samples have another ({paths[0]})"
        for why, count in self.left_out.items():
            yield f"left out: {count} samples {why}"

    def _cell(self, content: Content, place: str, column: str, value: Any) -> Cell | None:
        if isinstance(value, bytes):
            return "bytes", value
        if content.inline:
            return "text", str(value)
        moved, text = self._moved[column], str(value)
        if (path := self.files.stands(text)) is not None:
            moved.stands |= "/" in path
        elif (path := self.files.elsewhere(text)) is not None:
            moved.cells[place, text] = path
        return None if path is None else ("path", path)

    def _is_of(self, content: Content, cell: Cell) -> bool:
        value = cell[1]
        member = value if isinstance(value, bytes) else self.files.read(value)
        return reads(content.spec, self.size, member)

    def digests(self, sample: Sample) -> list[Hashable]:
        """`Sample.ties` with the content of files in place of their names."""
        return [self._content(tie) for tie in sample.ties()]

    def _content(self, tie: Any) -> Hashable:
        kind, value = tie
        if kind == "path":
            value = self.files.read(value)
        if isinstance(value, bytes):
            return hashlib.blake2b(value, digest_size=16).digest()
        return tie
