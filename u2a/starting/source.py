"""What ``u2a init`` is pointed at: a table, a folder of class folders or one of Hugging Face ``datasets``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from u2a.data.packing.tables import not_utf8, reader
from u2a.data.packing.values import unwrapped
from u2a.errors import U2AError
from u2a.starting.arrow import datasets_notes, is_datasets_folder, read_datasets
from u2a.starting.folders import METADATA, TABLES, metadata_tables
from u2a.starting.layout import Layout, find_layout
from u2a.starting.mixed import CHOICES
from u2a.starting.tables import split_tables

_HALF = re.compile("[\ud800-\udfff]")
#: Objects of more fields are data, not columns.
MOST_FIELDS = 30
Rows = Iterator[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Source:
    """Rows that can be read again and again.

    Attributes:
        path: what the person named.
        root: the folder that files are looked for in.
        read: gives each row with the place that messages name ("line 3"); faults go to the list.
        what: in a few words, for the person.
        notes: what the person should know, by subject; whole once all rows were read.
        lists: columns whose objects ``{"choices": [...]}`` are these lists.
    """

    path: Path
    root: Path
    read: Callable[[list[str]], Rows]
    what: str
    notes: Mapping[str, str] = field(default_factory=dict)
    lists: Collection[str] = ()

    def rows(self) -> Rows:
        """Every row, structs of bytes unwrapped.

        Raises:
            U2AError: rows that are none, the first few by line; or the file cannot be read.
        """
        problems: list[str] = []
        try:
            for place, fields in self.read(problems):
                row = dict(_flat(fields, self.lists))
                if (half := next((name for name, cell in row.items() if _is_half(cell)), None)) is None:
                    yield place, row
                else:
                    problems.append(f"{place}: column {half!r}: holds half of a character (a lone surrogate)")
        except UnicodeDecodeError:
            raise not_utf8(self.path) from None
        except OSError as error:
            raise U2AError(f"{error.filename or self.path}: cannot be read: {error.strerror}") from None
        if problems:
            more = [f"and {len(problems) - 5} more"] if len(problems) > 5 else []
            raise U2AError("\n".join([*(f"{self.path}: {one}" for one in problems[:5]), *more]))


def _is_half(cell: Any) -> bool:
    """Whether a text has a half of a character, as JSON's escapes may leave them; no file can hold it."""
    return isinstance(cell, str) and not cell.isascii() and _HALF.search(cell) is not None


def _flat(
    fields: Mapping[str, Any], lists: Collection[str], before: str = "", deep: int = 0
) -> Iterator[tuple[str, Any]]:
    """Cells, files unwrapped; the fields of an object as columns of their own: ``meta.label``."""
    for name, cell in fields.items():
        value, whole = unwrapped(cell), f"{before}{name}"
        if whole in lists and isinstance(value, dict) and value.keys() == {CHOICES}:
            value = value[CHOICES]
        if isinstance(value, dict) and 0 < len(value) <= MOST_FIELDS and deep < 3:
            yield from _flat(value, lists, f"{whole}.", deep + 1)
        else:
            yield whole, None if value == {} else value


def open_source(path: Path, root: Path | None = None) -> Source:
    """Find out what a source is.

    Raises:
        U2AError: it is nothing that can be read; says what can.
    """
    if not path.exists():
        raise U2AError(f"{path}: no such file or folder")
    if path.is_file():
        return Source(path, root or path.parent, _table(path), "a table")
    if is_datasets_folder(path):
        notes = datasets_notes(path)
        return Source(
            path, root or path, lambda problems: read_datasets(path, problems), "a datasets folder", notes
        )
    if tables := metadata_tables(path):
        return Source(path, root or path, lambda problems: _metadata(path, tables, problems), METADATA)
    layout = find_layout(path)
    if isinstance(layout, Layout):
        return Source(path, path, layout.rows, "a folder of class folders", layout.notes)
    if (of_splits := split_tables(path)).read:
        names = ", ".join(table.name for table in of_splits.read)

        def rows(problems: list[str]) -> Rows:
            return of_splits.once(_metadata(path, of_splits.read, problems))

        return Source(path, root or path, rows, f"tables ({names})", of_splits.notes)
    raise U2AError(
        f"{path}: is no folder of class folders (one folder a class, with files in it, perhaps below "
        f"train/ and test/) and no datasets folder: {layout}{_hint(path)}"
    )


def _hint(path: Path) -> str:
    """What else there is that can be read."""
    files = sorted(path.iterdir())
    if tables := [file for file in files if file.suffix.lower() in TABLES]:
        return f"; name its table: u2a init {tables[0]}"
    packed = [
        file.name for file in files if file.suffix.lower() in (".zip", ".gz", ".tar", ".tgz", ".7z", ".rar")
    ]
    return f"; unpack {packed[0]} first" if packed else ""


def _table(path: Path) -> Callable[[list[str]], Rows]:
    read = reader(path, ())

    def rows(problems: list[str]) -> Rows:
        for line, fields in read(path, problems):
            yield f"line {line}", fields

    return rows


def _metadata(path: Path, tables: Mapping[Path, str | None], problems: list[str]) -> Rows:
    for table, split in tables.items():
        inside = table.parent.relative_to(path)
        for place, fields in _table(table)(problems):
            row = dict(fields)
            for name in ("file_name", *[n for n in row if n.endswith("_file_name")]):
                if isinstance(value := row.get(name), str) and value:
                    row[name] = str(inside / value)
            if split and "split" not in row:
                row["split"] = split
            yield f"{table.name}, {place}", row
