"""Names that hold a value in some rows and an object, or a list of objects, in others."""

from __future__ import annotations

from collections.abc import Mapping

from u2a.errors import U2AError
from u2a.starting.columns import Column

#: The field in which annotation tools put several labels, where one is the cell itself.
CHOICES = "choices"


def choices_of(columns: Mapping[str, Column]) -> frozenset[str]:
    """Columns that hold a label in some rows, and ``{"choices": [...]}`` in others."""
    return frozenset(name for name, fields in _mixed(columns).items() if fields == [f"{name}.{CHOICES}"])


def told(path: str, columns: Mapping[str, Column], label: str) -> list[str]:
    """A line for each such column.

    Raises:
        U2AError: it is the label, and rows of one kind would lose it.
    """
    lines = []
    for name, fields in _mixed(columns).items():
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


def _mixed(columns: Mapping[str, Column]) -> dict[str, list[str]]:
    """Columns that hold something beside fields of their own, with these."""
    fields = {n: [c for c in columns if c.startswith(f"{n}.") and columns[c].filled] for n in columns}
    return {name: own for name, own in fields.items() if own and columns[name].filled}
