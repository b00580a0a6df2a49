"""MM-IMDb: a film's poster and plot, 23 genres; the official ``split.json``.

``dataset/<imdb id>.jpeg`` and ``dataset/<imdb id>.json``, or ``images/`` and ``labels/`` as in later public
code. One sample a film: its plot outline, else the first of its plots.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from u2a_prepare.common import (
    Choice,
    DataSet,
    Found,
    Report,
    files_in,
    first_folder,
    read_json,
    read_split,
    same_name,
)

PICTURES = ("jpeg", "jpg", "png")
#: Genres that the 23-class task leaves out.
DROPPED = ("News", "Adult", "Talk-Show", "Reality-TV")
_SPLITS = {"train": "train", "dev": "val", "val": "val", "test": "test"}


def read(source: Path, report: Report, choice: Choice, classes: Collection[str]) -> Iterator[Found]:
    """Films in the order of ``split.json``."""
    posters = files_in(first_folder(source, "dataset", "images"), PICTURES, report)
    folder = first_folder(source, "dataset", "labels")
    records = files_in(folder, ("json",), report)
    seen: dict[str, str] = {}
    for official, films in read_split(source / "split.json", report, _SPLITS).items():
        split = _SPLITS[official]
        for film in films:
            key = same_name(f"{film}.json")
            if key in seen:
                kind = "duplicate" if seen[key] == split else "in two splits"
                report.add(kind, film, f"kept in {seen[key]}", split)
                continue
            seen[key] = split
            if key not in records:
                report.add("missing file", str(folder / f"{film}.json"), "left out", split)
                continue
            record = read_json(records[key], report)
            labels = _genres(record, film, split, report, classes)
            if labels:
                poster = posters.get(key, records[key].with_name(f"{film}.jpeg"))
                yield Found(film, split, labels, {"image": poster, "text": _plot(record)})
    for key in sorted(records.keys() - seen.keys()):
        report.add("in no split", records[key].name, "left out")


def _genres(
    record: dict[str, Any], film: str, split: str, report: Report, classes: Collection[str]
) -> tuple[str, ...]:
    given = record.get("genres")
    genres = list(dict.fromkeys(map(str, given))) if isinstance(given, list) else []
    for genre in genres:
        if genre not in classes and genre not in DROPPED:
            report.add("unknown genre", film, f"{genre!r}; dropped", split)
    kept = tuple(genre for genre in classes if genre in genres)
    if not kept:
        report.add("no genre", film, f"none of the classes among {genres}; left out", split)
    return kept


def _plot(record: dict[str, Any]) -> str | None:
    plots = record.get("plot")
    for text in (record.get("plot outline"), *(plots if isinstance(plots, list) else [plots])):
        if isinstance(text, str) and text.strip():
            return text
    return None


MM_IMDB = DataSet("mm_imdb", ("image", "text"), {"train": 15_552, "val": 2_608, "test": 7_799}, read)
