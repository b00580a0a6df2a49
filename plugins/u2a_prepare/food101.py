"""UPMC Food-101: a picture and the title of the web page it is from; the official training and test split.

``images/{train,test}/<class>/<class>_<number>.jpg`` with ``texts/{train,test}_titles.csv`` (no header: picture,
title, class), or in place of ``texts/`` the ``text.json`` and ``split.json`` of later public code.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from u2a.errors import U2AError
from u2a_prepare.common import (
    Choice,
    DataSet,
    Found,
    Report,
    files_in,
    first_folder,
    read_json,
    read_split,
    read_text,
    same_name,
)

PICTURES = ("jpg", "jpeg", "png")
#: How a line of the CSV files begins.
_LINE = re.compile(r"[\w-]+_\d+\.\w+,")
_FOLDERS = {"train": "train", "val": "train", "dev": "train", "test": "test"}


def read(source: Path, report: Report, choice: Choice, classes: Collection[str]) -> Iterator[Found]:
    """Samples in the order of the title files."""
    images = first_folder(source, "images")
    pictures = {
        (split, folder.name): files_in(folder, PICTURES, report)
        for split in ("train", "test")
        for folder in sorted((images / split).glob("*/"))
    }
    used: set[Path] = set()
    seen: dict[str, str] = {}
    for split, name, title, label in _titles(source, report):
        if label not in classes:
            report.add("unknown class", name, f"{label!r}; left out", split)
            continue
        key = same_name(name)
        if seen.setdefault(key, split) != split:
            report.add("in two splits", name, f"kept in {seen[key]} only", split)
            continue
        folder = _FOLDERS[split]
        path = pictures.get((folder, label), {}).get(key, images / folder / label / name)
        used.add(path)
        yield Found(key, "val" if split == "dev" else split, (label,), {"image": path, "text": title})
    for (split, _), files in pictures.items():
        for path in files.values():
            if path not in used:
                report.add("picture without title", str(path), "left out", split)


def _titles(source: Path, report: Report) -> Iterator[tuple[str, str, str, str]]:
    """Split, picture, title, class."""
    folder = next((f for f in (source / "texts", source) if (f / "train_titles.csv").is_file()), None)
    if folder is not None:
        for split in ("train", "test"):
            path = folder / f"{split}_titles.csv"
            for fields in _records(read_text(path, report), path, report):
                yield (split, *fields)
    elif (source / "text.json").is_file() and (source / "split.json").is_file():
        texts = read_json(source / "text.json", report)
        for split, names in read_split(source / "split.json", report, _FOLDERS).items():
            for name in names:
                text = texts.get(name)
                title = text[0] if isinstance(text, list) and text else text
                yield split, name, title if isinstance(title, str) else "", name.rpartition("_")[0]
    else:
        raise U2AError(
            f"{source}: has neither texts/train_titles.csv nor text.json and split.json; "
            "docs/datasets.md shows what is expected"
        )


def _records(text: str, path: Path, report: Report) -> Iterator[tuple[str, str, str]]:
    csv.field_size_limit(1 << 26)
    for record in _logical_lines(text):
        if record.count('"') % 2:
            report.add("odd line", str(path), f"a quote is never closed: {record[:80]!r}")
            yield from _record(record.split(","), path, report)
            continue
        try:
            for fields in csv.reader(io.StringIO(record, newline="")):
                yield from _record(fields, path, report)
        except csv.Error as error:
            report.add("odd line", str(path), f"{error}: {record[:80]!r}; left out")


def _logical_lines(text: str) -> Iterator[str]:
    """Quotes may hold line breaks; but one that is never closed must not swallow the rest of the file."""
    record: list[str] = []
    quoted = False
    for line in text.split("\n"):
        if not quoted or _LINE.match(line):
            yield "\n".join(record)
            record, quoted = [], False
            line = line.removesuffix("\r")
        record.append(line)
        quoted ^= line.count('"') % 2 == 1
    yield "\n".join(record)


def _record(fields: list[str], path: Path, report: Report) -> Iterator[tuple[str, str, str]]:
    """A title with commas that is not quoted falls into several fields."""
    if not any(field.strip() for field in fields):
        return
    if len(fields) < 3:
        report.add("odd line", str(path), f"not picture, title, class: {','.join(fields)[:80]!r}; left out")
        return
    name, *title, label = fields
    yield name.strip(), ",".join(title).strip(), label.strip()


FOOD101 = DataSet("food101", ("image", "text"), {"train": 67_988, "test": 22_716}, read)
