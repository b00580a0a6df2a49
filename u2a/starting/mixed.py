"""Names that hold a value in some rows and an object, or a list of objects, in others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from u2a.errors import U2AError
from u2a.starting.columns import Column

#: The field in which annotation tools put several labels, where one is the cell itself.
CHOICES = "choices"


def choices_of(columns: Mapping[str, Column], total: int) -> frozenset[str]:
    """Columns that hold a label in some rows, and ``{"choices": [...]}`` in others."""
    return frozenset(name for name, fields in _mixed(columns, total).items() if fields == [f"{name}.{CHOICES}"])


def told(path: str, columns: Mapping[str, Column], total: int, label: str) -> list[str]:
    """A line for each such column.

    Raises:
        U2AError: it is the label, and rows of one kind would lose it.
    """
    lines = []
    for name, fields in _mixed(columns, total).items():
        filled, several = columns[name].filled, columns[name].all_are(list)
        what = f"{filled} rows hold {f'several {name!r}' if several else f'a value in {name!r}'}"
        ours = label == name or label in fields
        if ours and not several:
            raise U2AError(
                f"{path}: {what} and others an object ({fields[0]}), so some have no label; write them alike, "
                f"or leave one kind out: --ignore {fields[0] if label == name else name}"
            )
        lost = repr(label) if ours else f"its fields ({fields[0]})"
        lines.append(f"{what} and others an object: they have none of {lost}")
    return lines


def _mixed(columns: Mapping[str, Column], total: int) -> dict[str, list[str]]:
    """Columns that hold something beside fields of their own, never in one row, with these."""
    found = defaultdict[str, list[str]](list)
    for name, column in columns.items():
        for end in (place for place, sign in enumerate(name) if sign == "."):
            whole = columns.get(name[:end])
            if whole is not None and whole.filled and column.filled and whole.filled + column.filled <= total:
                found[name[:end]].append(name)
    return found
