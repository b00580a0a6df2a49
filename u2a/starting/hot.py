"""Columns of zeros and ones, one a class, as one column of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from u2a.common.values import short
from u2a.errors import U2AError
from u2a.starting.columns import OFF, ON, empty
from u2a.starting.source import Rows, Source

#: What the column of labels is called.
LABELS = "labels"


def comma_names(label: str | None, source: Source) -> list[str]:
    """The columns that a person names as the label together, if they are several; a name may have a comma."""
    if label is None or "," not in label or label in next(source.rows(), ("", {}))[1]:
        return []
    return [name.strip() for name in label.split(",") if name.strip()]


def with_hot(source: Source, names: Sequence[str]) -> Source:
    """The source with the names of the columns that hold a one, as one column.

    An empty cell is a zero; where all are empty, there is no label. Rows that hold something else are errors.
    """

    def read(problems: list[str]) -> Rows:
        for place, fields in source.read(problems):
            found = _found(source, place, fields, names)
            yield place, {**{n: v for n, v in fields.items() if n not in names}, LABELS: found}

    return replace(source, read=read)


def _found(source: Source, place: str, fields: Mapping[str, Any], names: Sequence[str]) -> list[str] | None:
    if lost := next((name for name in names if name not in fields), None):
        raise U2AError(f"{source.path}: {place}: has no column {lost!r} (--label)")
    values = {name: fields.get(name) for name in names}
    cells = {name: str(value).strip().lower() for name, value in values.items() if not empty(value)}
    if odd := next((name for name, cell in cells.items() if cell not in (*ON, *OFF)), None):
        raise U2AError(f"{source.path}: {place}: column {odd!r}: {short(values[odd])} is neither 0 nor 1")
    return [name for name, cell in cells.items() if cell in ON] if cells else None
