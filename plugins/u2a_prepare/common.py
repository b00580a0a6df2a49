"""What all readers of public data sets share: what they find, what they report, and how files are named."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from u2a.data.packing.sources import Cell, Row
from u2a.errors import U2AError


@dataclass(frozen=True)
class Found:
    """One sample of a layout. Cells: a file, a text, or None (the set has none for this sample)."""

    key: str
    split: str
    labels: tuple[str, ...]
    cells: Mapping[str, Path | str | None]


@dataclass
class Report:
    """What is not as the layout promises; each entry has a kind, the name of the thing, and details."""

    problems: list[dict[str, str]] = field(default_factory=list)

    def add(self, kind: str, name: str, detail: str = "", split: str = "") -> None:
        """Note one problem."""
        entry = {"kind": kind, "name": name, "split": split, "detail": detail}
        self.problems.append({key: value for key, value in entry.items() if value})

    def counts(self) -> dict[str, int]:
        """Problems by kind, the most frequent first."""
        return dict(Counter(problem["kind"] for problem in self.problems).most_common())

    def lines(self) -> str:
        """All problems as JSON lines."""
        return "".join(json.dumps(problem, ensure_ascii=False) + "\n" for problem in self.problems)


@dataclass(frozen=True)
class Choice:
    """What a user may choose about a data set: the seed of a split that is drawn, and by what it is split."""

    seed: int = 0
    split_by: str = "sample"


@dataclass(frozen=True)
class DataSet:
    """A public data set that u2a can read.

    Attributes:
        name: also the name of its shipped recipe.
        columns: the modalities that it has.
        paper: samples by split as the paper reports them.
        read: finds the samples below a folder, in an order that does not depend on the file system.
        split_by: the ways to split that it knows.
        drawn: its split is drawn with a seed (otherwise it is the official one).
    """

    name: str
    columns: tuple[str, ...]
    paper: Mapping[str, int]
    read: Callable[[Path, Report, Choice, Collection[str]], Iterator[Found]]
    split_by: tuple[str, ...] = ("sample",)
    drawn: bool = False


class Rows:
    """A `u2a.data.packing.manifest.RowSource` over what a reader found."""

    def __init__(self, path: Path, extensions: Mapping[str, tuple[str, ...]], rows: list[Row]) -> None:
        self.path = path
        self.extensions = dict(extensions)
        self._rows = rows

    def rows(self, problems: list[str], split: str | None = None) -> Iterator[Row]:
        """All rows, or those of a split."""
        return (row for row in self._rows if split is None or row.split == split)


def usable_rows(
    source: Path, found: Iterator[Found], extensions: Mapping[str, tuple[str, ...]], report: Report
) -> list[Row]:
    """Samples as rows; those whose files are absent, empty or of the wrong kind are reported and left out.

    So are those whose files do not lie in `source` (a real path): annotations may name anything.
    """
    rows: list[Row] = []
    keys: set[str] = set()
    for number, sample in enumerate(found, 1):
        if sample.key in keys:
            report.add("duplicate", sample.key, "listed again; the first is kept", sample.split)
            continue
        keys.add(sample.key)
        cells = {m: _cell(source, m, sample, extensions[m], report) for m in extensions}
        if "lost" in cells.values():
            continue
        held = {m: cell for m, cell in cells.items() if isinstance(cell, Cell)}
        for modality in cells.keys() - held.keys():
            report.add(f"no {modality}", sample.key, "kept without it", sample.split)
        if held:
            rows.append(Row(number, sample.key, sample.split, sample.labels, held))
        else:
            report.add("empty sample", sample.key, "has none of the modalities; left out", sample.split)
    return rows


def _cell(
    source: Path, modality: str, sample: Found, allowed: Collection[str], report: Report
) -> Cell | str | None:
    """None where the sample has none of this modality, "lost" where it should."""
    value = sample.cells[modality]
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        return Cell("txt", text.encode("utf-8", "replace")) if text else None
    extension = value.suffix[1:].lower()
    try:
        real = Path(os.path.realpath(value))
        if not real.is_relative_to(source):
            report.add("outside the source", str(value), f"{modality} of {sample.key}; left out", sample.split)
            return "lost"
        size = real.stat().st_size
    except (OSError, ValueError):  # ValueError: a name that no file can have
        report.add("missing file", str(value), f"{modality} of {sample.key}; left out", sample.split)
        return "lost"
    if not size:
        report.add("empty file", str(value), f"{modality} of {sample.key}; left out", sample.split)
        return "lost"
    if extension not in allowed:
        report.add("unexpected file type", str(value), f"{modality} reads {', '.join(allowed)}", sample.split)
        return "lost"
    return Cell(extension, real)


def same_name(name: str) -> str:
    """A file's name without its extension, as annotation files and file systems may differ in it.

    Case, Unicode form (macOS decomposes accents), white space and dots at the end are evened out.
    """
    stem = os.path.splitext(unicodedata.normalize("NFC", name).strip())[0]
    return stem.rstrip(" .").casefold()


def files_in(folder: Path, extensions: Collection[str], report: Report) -> dict[str, Path]:
    """The files of one folder with these extensions, by `same_name`; of two alike the first is kept."""
    found: dict[str, Path] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if name.startswith(".") or os.path.splitext(name)[1][1:].lower() not in extensions:
            continue
        path = folder / name
        if (first := found.setdefault(same_name(name), path)) is not path:
            report.add("duplicate file", str(path), f"differs from {first.name} in spelling only; left out")
    return found


def first_folder(source: Path, *names: str) -> Path:
    """The first of these folders (``"."``: the source itself) that exists.

    Raises:
        U2AError: none does.
    """
    for name in names:
        if (source / name).is_dir():
            return source / name
    raise U2AError(
        f"{source}: has none of the folders {', '.join(names)}; docs/datasets.md shows what is expected"
    )


def read_text(path: Path, report: Report) -> str:
    """A text file; what is not UTF-8 in it is reported and replaced.

    Raises:
        U2AError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise U2AError(f"{path}: {error.strerror}; docs/datasets.md shows what is expected") from None
    text = data.decode("utf-8-sig", "replace")
    if "\ufffd" in text:
        report.add("not UTF-8", str(path), "unreadable characters are replaced by \ufffd")
    return text


def read_json(path: Path, report: Report) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        U2AError: it cannot be read or is not one.
    """
    try:
        found = json.loads(read_text(path, report))
    except (ValueError, RecursionError) as error:
        raise U2AError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise U2AError(f"{path}: is not a JSON object; docs/datasets.md shows what is expected")
    return found


def read_split(path: Path, report: Report, names: Mapping[str, str]) -> dict[str, list[str]]:
    """A JSON file of lists of names by split.

    Args:
        names: the splits that it may hold, as it calls them.

    Raises:
        U2AError: it cannot be read or is of another shape.
    """
    split = read_json(path, report)
    for key, listed in split.items():
        if key not in names or not isinstance(listed, list):
            raise U2AError(f"{path}: {key!r} is not one of the lists {', '.join(names)}")
        if strangers := [name for name in listed if not isinstance(name, str | int)]:
            raise U2AError(f"{path}: {key}: {strangers[0]!r} is not a name")
    return {key: [str(name) for name in listed] for key, listed in split.items()}


def read_csv(path: Path, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number and the fields of each line of a CSV file with a header; too long a field ends it.

    Raises:
        U2AError: it cannot be read or is not CSV.
    """
    table = csv.DictReader(io.StringIO(read_text(path, report), newline=""))
    try:
        for fields in table:
            yield table.line_num, fields
    except csv.Error as error:
        raise U2AError(f"{path}: line {table.line_num + 1}: not CSV: {error}") from None
