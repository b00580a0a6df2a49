"""What folders and tables are called: names of splits, and tables beside files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from u2a.data.shards.names import SPLIT_OF
from u2a.starting.trees import Tree

METADATA = "a folder with a metadata table"
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "metadata.tsv")
_SPLITS = SPLIT_OF | {"eval": "val", "evaluation": "val"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def split_name(value: Any) -> str | None:
    """``train``, ``val`` or ``test`` for what people call them; None for all else."""
    return _SPLITS.get(str(value).strip().casefold())


def split_in(name: str) -> str | None:
    """The split that one word of a name says: ``val2017``, ``seg_test``, ``TestSet``; else None."""
    words = (word.lower().removesuffix("set") for word in _WORD.findall(name))
    found = {split for word in words if (split := split_name(word))}
    return found.pop() if len(found) == 1 else None


def metadata_tables(path: Path) -> dict[Path, str | None]:
    """Tables that describe the files beside them, with the split that their folder names."""
    for place in (path, path / "data"):
        found: dict[Path, str | None] = {place / n: None for n in _NAMES if (place / n).is_file()}
        for folder in Tree((place,)).folders() if place.is_dir() else ():
            if split := split_name(folder.name):
                found |= {place / folder.name / n: split for n in _NAMES if (place / folder.name / n).is_file()}
        if found:
            return found
    return {}
