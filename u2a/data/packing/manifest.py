"""Manifests: a JSONL, CSV or Parquet file with one row a sample, checked as a whole before anything is written.

Columns: ``key``, ``split``, ``label`` or ``labels`` (a list; CSV: separated by ``|``), and one for each
modality: a path relative to the manifest's folder, or, for modalities that read ``txt`` files, the text itself;
for those that read ``json`` files, the JSON object itself. A column ``<modality>_path`` always holds a path.
An empty cell means missing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from u2a.data.packing.tables import reader
from u2a.errors import U2AError

_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Cell:
    """What a sample has of one modality: a file, or text given in the manifest as its bytes."""

    extension: str
    content: Path | bytes

    def read(self) -> bytes:
        """The bytes of the member."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True)
class Row:
    """One sample of a manifest; `labels` is None for an unlabelled one, `cells` has no missing modality."""

    line: int
    key: str
    split: str
    labels: tuple[str, ...] | None
    cells: dict[str, Cell]


class RowSource(Protocol):
    """Where samples to pack come from: a `Manifest`, or the layout of a public data set.

    Attributes:
        path: the file or folder, for messages.
        extensions: modalities in recipe order, with the extensions that each reads.
    """

    path: Path
    extensions: dict[str, tuple[str, ...]]

    def rows(self, problems: list[str], split: str | None = None) -> Iterator[Row]:
        """Every usable row (of one split) in order, the same each time; faults go to `problems`."""
        ...


class Manifest:
    """A manifest file, read row by row.

    Args:
        path: a ``.jsonl``, ``.csv`` (UTF-8) or ``.parquet`` file.
        extensions: the recipe's modalities, in recipe order, with the extensions that each reads.
        default_split: the split of rows that name none; without it such a row is a fault.
    """

    def __init__(
        self, path: Path, extensions: Mapping[str, tuple[str, ...]], default_split: str | None = None
    ) -> None:
        self.path = path
        self.extensions = dict(extensions)
        self.default_split = default_split
        self._read = reader(path, ("key",) if default_split else ("key", "split"))

    @cached_property
    def _folder(self) -> str:
        return os.path.realpath(self.path.parent)

    def rows(self, problems: list[str], split: str | None = None) -> Iterator[Row]:
        """Every usable row (of one split) in order; each fault is appended to `problems`, with its line.

        Raises:
            U2AError: the file cannot be read at all.
        """
        try:
            for line, fields in self._read(self.path, problems):
                if split is not None and str(fields.get("split")) != split:
                    continue
                faults: list[str] = []
                row = self._row(line, fields, faults)
                problems += [f"line {line}: {fault}" for fault in faults]
                if not faults:
                    yield row
        except UnicodeDecodeError:
            raise U2AError(f"{self.path}: is not UTF-8 text") from None
        except OSError as error:
            raise U2AError(f"{self.path}: cannot be read: {error.strerror or error}") from None

    def _row(self, line: int, fields: Mapping[str, Any], faults: list[str]) -> Row:
        key = _text(fields, "key", faults)
        split = self.default_split if self.default_split and not fields.get("split") else ""
        split = split or _text(fields, "split", faults)
        if split and not _SPLIT.fullmatch(split):
            faults.append(f"column 'split': {split!r} may hold letters, digits, - and _ only")
        labels = _labels(fields, faults)
        cells = {}
        for modality in self.extensions:
            try:
                if cell := self._cell(modality, fields):
                    cells[modality] = cell
            except ValueError as error:
                faults.append(str(error))
        if not cells and not faults:
            faults.append(f"sample {key!r} has none of the modalities {', '.join(self.extensions)}")
        return Row(line, key, split, labels, cells)

    def _cell(self, modality: str, fields: Mapping[str, Any]) -> Cell | None:
        columns = [name for name in (modality, f"{modality}_path") if fields.get(name) not in (None, "")]
        if not columns:
            return None
        if len(columns) > 1:
            raise ValueError(f"has both {columns[0]!r} and {columns[1]!r}")
        column = columns[0]
        value = fields[column]
        if column == modality and "json" in self.extensions[modality] and _is_object(value):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            return Cell("json", _encode(column, text))
        if not isinstance(value, str):
            raise ValueError(f"column {column!r}: must be text, not {value!r}")
        if not value.strip():
            raise ValueError(f"column {column!r}: only white space; leave the cell empty if it is missing")
        if column == modality and "txt" in self.extensions[modality]:
            return Cell("txt", _encode(column, value))
        return self._file(modality, column, value)

    def _file(self, modality: str, column: str, value: str) -> Cell:
        endings = [e for e in self.extensions[modality] if value.lower().endswith(f".{e}")]
        if not endings:
            raise ValueError(
                f"column {column!r}: {value!r} is not a file that {modality} reads: "
                f"{', '.join('.' + e for e in self.extensions[modality])}"
            )
        if os.path.isabs(value) or "\0" in value:
            raise ValueError(f"column {column!r}: {value!r} must be relative to the manifest's folder")
        path = _real(os.path.join(self._folder, value))
        if os.path.commonpath((self._folder, path)) != self._folder:
            raise ValueError(f"column {column!r}: {value!r} leads out of the manifest's folder")
        if not os.path.isfile(path):
            raise ValueError(f"column {column!r}: {value}: no such file")
        if not os.path.getsize(path):
            raise ValueError(f"column {column!r}: {value}: is empty; leave the cell empty if it is missing")
        return Cell(max(endings, key=len), Path(path))


@lru_cache(4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _real(path: str) -> str:
    """As os.path.realpath, which asks the file system about every parent every time."""
    folder, name = os.path.split(path)
    whole = os.path.join(_real_folder(folder), name)
    return os.path.realpath(whole) if os.path.islink(whole) or name in (".", "..") else whole


def _is_object(value: Any) -> bool:
    """An object of a JSONL manifest, or the text of one (no file's name starts with a brace and a quote)."""
    return isinstance(value, dict) or (isinstance(value, str) and re.match(r"\s*\{\s*[\"}]", value) is not None)


def _encode(column: str, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"column {column!r}: holds half of a character (a lone surrogate)") from None


def _text(fields: Mapping[str, Any], column: str, faults: list[str]) -> str:
    value = fields.get(column)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value in (None, ""):
        faults.append(f"column {column!r} is missing or empty")
    elif not isinstance(value, str):
        faults.append(f"column {column!r}: must be text, not {value!r}")
    else:
        try:
            _encode(column, value)
            return value
        except ValueError as error:
            faults.append(str(error))
    return ""


def _labels(fields: Mapping[str, Any], faults: list[str]) -> tuple[str, ...] | None:
    """None = unlabelled; an empty list in JSON is a label: none of the classes."""
    one, many = ((None if fields.get(name) == "" else fields.get(name)) for name in ("label", "labels"))
    if one is not None and many is not None:
        faults.append("has both 'label' and 'labels'")
    if one is None and many is None:
        return None
    column = "labels" if one is None else "label"
    values = [one] if one is not None else many.split("|") if isinstance(many, str) else many
    if not isinstance(values, list):
        faults.append(f"column 'labels': must be a list, not {values!r}")
        return None
    labels = tuple(_text({column: v.strip() if isinstance(v, str) else v}, column, faults) for v in values)
    if len(set(labels)) != len(labels):
        faults.append(f"column {column!r}: names a label twice")
    return labels
