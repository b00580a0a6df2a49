"""What each column of a person's table is: label, split, group, key, or something that a modality reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from u2a.common.seeds import rng
from u2a.common.values import is_missing
from u2a.data.packing.columns import column_name
from u2a.errors import U2AError
from u2a.starting.folders import split_name
from u2a.starting.kept import Kept
from u2a.starting.prose import has_words
from u2a.starting.split_names import only_splits, some_splits, split_names

LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "classes",
    "category",
    "categories",
    "target",
    "y",
    "lbl",
    "tags",
    "genres",
)
KEY_NAMES = ("key", "id", "uid", "uuid", "name", "sample_id", "image_id", "item_id")
#: What columns of zeros and ones hold, one column a class.
ON, OFF = ("1", "1.0", "true"), ("0", "0.0", "false")
EXAMPLES, DISTINCT = 200, 5_000
#: What the column is called in which pandas numbers the rows.
_ROW_NUMBER = re.compile(r"\(column \d+.*|unnamed: \d+|__index_level_\d+__", re.IGNORECASE)
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|^data:[a-z]+/")
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*")


@dataclass
class Column:
    """What all rows say about one column.

    Attributes:
        filled: rows that hold something.
        counts: how often each short value occurs; None once there are too many different ones.
        twice: whether a value was there twice in one split, while they were counted.
    """

    name: str
    filled: int = 0
    counts: Counter[str] | None = field(default_factory=Counter)
    twice: bool = False
    seen: set[tuple[Any, str]] = field(default_factory=set, repr=False)
    _kept: Kept = field(default_factory=lambda: Kept(EXAMPLES))

    @property
    def examples(self) -> list[Any]:
        """Some values from all over the column."""
        return self._kept.values()

    def see(self, value: Any, number: int, rank: float, split: Any = None) -> None:
        """Take note of one row's cell, and its split; those of the lowest ranks are the examples."""
        if empty(value):
            return
        self.filled += 1
        self._kept.see(number, rank, value)
        if self.counts is not None:
            text = value if isinstance(value, str) else repr(value) if _plain(value) else f"({id(value)})"
            self.counts[text[:200]] += 1
            self.twice |= (split, text[:200]) in self.seen
            self.seen.add((split, text[:200]))
            if len(self.counts) > DISTINCT:
                self.counts = None
                self.seen.clear()

    def all_are(self, *kinds: type) -> bool:
        """Whether every example is of one of these types."""
        return bool(self.examples) and all(isinstance(value, kinds) for value in self.examples)

    @property
    def repeats(self) -> bool:
        """Whether there are so few different values that they are classes rather than content."""
        return (
            self.counts is not None and len(self.counts) <= max(self.filled // 2, 1) and len(self.counts) < 2000
        )

    @property
    def unique(self) -> bool:
        """Whether no value is there twice in one split, as far as they were counted."""
        return not self.twice

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers, also as text."""
        return bool(self.examples) and all(
            (isinstance(value, int | float) and not isinstance(value, bool))
            or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)
            for value in self.examples
        )

    @property
    def hot(self) -> bool:
        """Whether it holds zeros and ones."""
        return bool(self.counts) and {one.lower() for one in self.counts or ()} <= {*ON, *OFF}

    @property
    def amounts(self) -> bool:
        """Whether its numbers name no files, even if there are such files: they repeat, or number the rows."""
        return self.numeric and (not self.unique or _ROW_NUMBER.fullmatch(self.name) is not None)

    @property
    def addresses(self) -> bool:
        """Whether it holds web addresses."""
        return self.all_are(str) and sum(bool(_ADDRESS.match(v)) for v in self.examples) > 0.9 * len(
            self.examples
        )

    @property
    def prose(self) -> bool:
        """Whether it holds texts that somebody wrote, rather than names, codes or dates."""
        return self._mostly(has_words)

    @property
    def figures(self) -> bool:
        """Whether it holds dates, times, lists of numbers, or numbers with units: spaces, and no words."""
        return self._mostly(lambda value: " " in value.strip()) and not self.prose

    def _mostly(self, holds: Callable[[str], bool]) -> bool:
        """Whether half of the texts are such, unless there are so few different ones that they are classes."""
        if not self.all_are(str) or self.numeric or self.addresses:
            return False
        few = self.counts is not None and len(self.counts) <= max(20, self.filled // 20) and self.filled > 40
        return 2 * sum(map(holds, self.examples)) >= len(self.examples) and not few


def empty(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return is_missing(value) or (isinstance(value, str | bytes) and not value.strip())


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | bool | list | tuple)


def look(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Column], int]:
    """Every column of the rows, and their number."""
    columns: dict[str, Column] = {}
    total, draw = 0, rng("look")
    for _, fields in rows:
        total, rank = total + 1, draw.random()
        split = split_name(fields.get("split"))
        for name, value in fields.items():
            columns.setdefault(name, Column(name)).see(value, total, rank, split)
    return columns, total


@dataclass
class Roles:
    """Which columns are what; the rest may be content.

    Attributes:
        splits: the split that each value of the column of splits means, as far as it means one.
    """

    label: str
    split: str | None = None
    group: str | None = None
    key: str | None = None
    splits: dict[str, str] = field(default_factory=dict)

    @property
    def taken(self) -> set[str]:
        """The columns that are no content."""
        return {name for name in (self.label, self.split, self.group, self.key) if name}


def assign_roles(
    columns: Mapping[str, Column], path: str, *, label: str | None, split: str | None, group: str | None
) -> Roles:
    """Find the columns of label, split, group and key.

    Raises:
        U2AError: a column that the person names is not there, or the label cannot be told.
    """
    for option, name in (("--label", label), ("--split-column", split), ("--group", group)):
        if name is not None and column_name(name) not in columns:
            raise U2AError(f"{path}: has no column {name!r} ({option}); its columns are {_names(columns)}")
    plain = {name.casefold(): name for name in columns}
    if split is None:
        candidates = (plain[n] for n in ("split", "partition", "subset") if n in plain)
        split = next((name for name in candidates if some_splits(columns[name].counts or ())), None)
        taken = {label, *(plain.get(n) for n in LABEL_NAMES)}
        others = (c for c in columns.values() if c.name not in taken and c.repeats)
        split = split or next((c.name for c in others if only_splits(c.counts or ())), None)
    chosen = label or _label(columns, path, {split, group or plain.get("group")})
    taken = {chosen, split, group}
    free = (plain[n] for n in KEY_NAMES if n in plain and plain[n] not in taken)
    key = next((name for name in free if _may_be_key(columns[name])), None)
    splits = {} if split is None else split_names(columns[split].counts or ())
    return Roles(chosen, split, group, key, splits)


def _names(columns: Mapping[str, Column]) -> str:
    return ", ".join(map(repr, list(columns)[:20]))


def _label(columns: Mapping[str, Column], path: str, taken: set[str | None]) -> str:
    plain = {name.casefold(): name for name in columns if name not in taken and columns[name].filled}
    if found := next((plain[name] for name in LABEL_NAMES if name in plain), None):
        return found
    fitting = [c.name for c in columns.values() if c.name not in taken and _may_be_label(c)]
    if len(fitting) == 1:
        return fitting[0]
    said = (
        f"{' and '.join(map(repr, fitting[:4]))} could be it" if fitting else "no column has values that repeat"
    )
    if len(hot := [c.name for c in columns.values() if c.name not in taken and c.hot]) > 1:
        said += f" (columns of zeros and ones are one label together: --label {','.join(hot[:3])} ...)"
    raise U2AError(
        f"{path}: which column is to be predicted? {said}; say it with --label COLUMN "
        f"(columns: {_names(columns)})"
    )


def _may_be_key(column: Column) -> bool:
    return column.all_are(str, int) and column.unique


def _may_be_label(column: Column) -> bool:
    if not column.repeats or column.counts is None or len(column.counts) < 2:
        return False
    if column.addresses or column.prose or column.figures:
        return False
    return not (column.numeric and len(column.counts) > 20) and column.all_are(str, int, bool, list)
