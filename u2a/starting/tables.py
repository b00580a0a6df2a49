"""A folder with a table for each split: which are read, joined, or only told."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from u2a.data.packing.tables import reader
from u2a.errors import U2AError
from u2a.starting.folders import TABLES, split_name
from u2a.starting.split_names import split_names
from u2a.starting.trees import Tree


@dataclass
class SplitTables:
    """The tables of splits in a folder.

    Attributes:
        read: tables with their splits.
        notes: what the person should know, by subject.
    """

    read: dict[Path, str | None] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def once(self, rows: Iterator[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Rows that several tables of one split have, from the first of them alone."""
        joined = {split for split, count in Counter(self.read.values()).items() if count > 1}
        first: dict[bytes, str] = {}
        repeated = 0
        for place, fields in rows:
            if fields.get("split") in joined:
                digest = hashlib.blake2b(repr(sorted(fields.items())).encode(errors="replace"), digest_size=16)
                table = place.rpartition(", ")[0]
                if first.setdefault(digest.digest(), table) != table:
                    repeated += 1
                    continue
            yield place, fields
        if repeated:
            self.notes["repeated"] = f"{repeated} rows that several tables of one split have are read once"


def split_tables(path: Path) -> SplitTables:
    """A table for each split, as ``train.jsonl`` and ``test.jsonl``; none where that is not clear."""
    for folder in (path, path / "data"):
        if folder.is_dir():
            tables = [file for file in Tree((folder,)).loose() if file.suffix.lower() in TABLES]
            if (found := _chosen(tables)).read:
                return found
    return SplitTables()


def _chosen(tables: Collection[Path]) -> SplitTables:
    """The tables that are read: those that mean a split, if they fit those of the same split and of train."""
    found, meant = SplitTables(), split_names([table.stem for table in tables])
    by_split: dict[str, list[Path]] = {}
    for table in tables:
        if split := meant.get(table.stem):
            by_split.setdefault(split, []).append(table)
    train = by_split.get("train", [])
    twice = any(len(own) > 1 and split_name(own[0].stem) for own in by_split.values())  # test.csv and test.json
    if twice or not train or not _fit(train):
        return found
    for split, own in by_split.items():
        beside = split_name(train[0].stem) and not split_name(own[0].stem)
        if _fit(own + train[:1] if beside else own):
            found.read |= dict.fromkeys(own, split)
            if len(own) > 1:
                found.notes[split] = f"{' and '.join(table.name for table in own)} are read as split {split}"
    if others := [table.name for table in tables if table not in found.read]:
        found.notes["others"] = f"tables beside these are not read: {', '.join(others)}"
    return found


def _fit(tables: Collection[Path]) -> bool:
    """Whether tables are parts of one: each has the columns of the others, or some of them."""
    if len(tables) < 2:
        return True
    columns = sorted((_columns(table) for table in tables), key=len)
    return bool(columns[0]) and all(few <= many for few, many in pairwise(columns))


def _columns(table: Path) -> frozenset[str]:
    """The columns of a table's first row; none if it cannot be read."""
    try:
        return frozenset(next((fields for _, fields in reader(table, ())(table, [])), {}))
    except (U2AError, OSError, ValueError):
        return frozenset()
