"""Manifests: a JSON, CSV or Parquet file with one row a sample, checked as a whole before anything is written.

Columns: ``key``, ``split``, ``label`` or ``labels`` (a list; CSV: separated by ``|``), ``group``, and one for
each modality: a path relative to the manifest's folder, or, for modalities that read ``txt`` files, the text
itself; for those that read ``json`` files, the JSON object itself; for those that read ``npy`` files, the list
of numbers itself. A column ``<modality>_path`` always holds a path. An empty cell, null and NaN mean missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from u2a.common.values import is_blank, missing_word, nfc, number_text, short
from u2a.data.packing.columns import Columns
from u2a.data.packing.paths import Paths
from u2a.data.packing.sources import Cell, Row
from u2a.data.packing.tables import not_utf8, reader
from u2a.data.packing.values import encoded, labels_of, standing, text_of, unwrapped
from u2a.data.packing.words import MissingWords
from u2a.data.shards.names import check_split
from u2a.errors import U2AError
from u2a.media.magic import extension_of


@dataclass(frozen=True)
class ManifestOptions:
    """How a manifest is read.

    Attributes:
        root: the folder that paths are relative to, and that no path leaves; the manifest's own by default.
        missing_words: cells that mean missing.
        ignore: columns that are left out.
        rename_splits: pairs of a split's name in the manifest and its name in the data set.
    """

    root: str | None = None
    missing_words: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    rename_splits: tuple[tuple[str, str], ...] = ()


class Manifest:
    """A manifest file, read row by row.

    Args:
        path: a ``.jsonl``, ``.json``, ``.csv``, ``.tsv`` or ``.parquet`` file.
        extensions: the recipe's modalities, in recipe order, with the extensions that each reads.
        default_split: the split of rows that name none, and those without a key have their line's number;
            without it such rows are faults.
        options: how it is read.
    """

    def __init__(
        self,
        path: Path,
        extensions: Mapping[str, tuple[str, ...]],
        default_split: str | None = None,
        *,
        options: ManifestOptions | None = None,
    ) -> None:
        self.path = path
        self.extensions = dict(extensions)
        self.default_split = default_split
        options = options or ManifestOptions()
        self.columns = Columns(self.extensions, options.ignore)
        self.words = MissingWords(options.missing_words)
        self._renamed = dict(options.rename_splits)
        self._paths = Paths(Path(options.root or path.parent), given=options.root is not None)
        required = () if default_split else ("key", "split")
        self._read = reader(path, required, self.columns.wanted)

    def rows(self, problems: list[str], split: str | None = None) -> Iterator[Row]:
        """Every usable row (of one split) in order; each fault is appended to `problems`, with its line.

        Raises:
            U2AError: the file cannot be read at all.
        """
        self.columns.unknown.clear()
        self.words.clear()
        try:
            for line, fields in self._read(self.path, problems):
                if split is not None and self._split(fields.get("split")) != split:
                    continue
                faults = list(self.columns.faults(fields))
                row = self._row(line, fields, faults)
                problems += [f"line {line}: {fault}" for fault in faults]
                if not faults:
                    yield row
        except UnicodeDecodeError:
            raise not_utf8(self.path) from None
        except OSError as error:
            raise U2AError(f"{self.path}: cannot be read: {error.strerror or error}") from None

    def told(self) -> list[str]:
        """What a person should know of the rows just read, one line each."""
        return [*self.columns.told(), *self.words.told()]

    def _row(self, line: int, fields: Mapping[str, Any], faults: list[str]) -> Row:
        unnamed = self.default_split and is_blank(fields.get("key"))
        key = str(line) if unnamed else text_of(fields, "key", faults)
        named = not is_blank(fields.get("split"))
        split = self.default_split or ""
        if named or not split:
            split = self._split(text_of(fields, "split", faults))
        try:
            if split:
                check_split(split)
        except ValueError as error:
            faults.append(f"column 'split': {error}")
        labels = labels_of(fields, faults)
        group = number_text(fields.get("group")) or fields.get("group")
        group = None if is_blank(group) else nfc(str(group))
        cells = {}
        for modality in self.extensions:
            try:
                if cell := self._cell(modality, fields, key):
                    cells[modality] = cell
            except ValueError as error:
                faults.append(str(error))
        if not cells and not faults:
            faults.append(f"sample {key!r} has none of the modalities {', '.join(self.extensions)}")
        return Row(line, key, split, labels, cells, group)

    def _split(self, value: Any) -> str:
        name = str(value).strip()
        return self._renamed.get(name, name)

    def _cell(self, modality: str, fields: Mapping[str, Any], key: str) -> Cell | None:
        columns = [
            name
            for name in (modality, f"{modality}_path")
            if not (is_blank(value := fields.get(name)) or self.words.means_missing(value))
        ]
        if not columns:
            return None
        if len(columns) > 1:
            raise ValueError(f"has both {columns[0]!r} and {columns[1]!r}")
        column = columns[0]
        value, extensions = fields[column], self.extensions[modality]
        if (value := unwrapped(value)) is None:
            return None
        if isinstance(value, bytes):
            if not value:
                raise ValueError(f"column {column!r}: holds 0 bytes; null means missing")
            return Cell(extension_of(value, extensions), value)
        if column == modality and (made := standing(column, value, extensions)):
            return Cell(*made)
        if not isinstance(value, str):
            raise ValueError(f"column {column!r}: must be text, not {short(value)}")
        if not value.strip():
            raise ValueError(f"column {column!r}: only white space; leave the cell empty if it is missing")
        if column == modality and "txt" in extensions:
            self._paths.check_text(column, value)
            self.words.look(modality, key, value)
            return Cell("txt", encoded(column, value))
        try:
            extension, path = self._paths.find(modality, extensions, value)
        except ValueError as error:
            hint = f"; if it means missing: --missing-words {value.strip()}" if missing_word(value) else ""
            raise ValueError(f"column {column!r}: {error}{hint}") from None
        return Cell(extension, path)
