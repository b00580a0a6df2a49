"""Columns that only say again what another one says: the label, or the same files."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from u2a.common.values import looks_like_file
from u2a.starting.columns import Column, Roles, empty
from u2a.starting.files import Files
from u2a.starting.source import Source


def without_echoes(
    source: Source, columns: Mapping[str, Column], roles: Roles, rest: Sequence[Column], notes: list[str]
) -> list[Column]:
    """The columns without those that only say the label again, which a model would read off."""
    label = columns[roles.label]
    if label.counts is None:
        return list(rest)
    same = [
        c.name for c in rest if c.counts is not None and len(c.counts) == len(label.counts) and c.all_are(str)
    ]
    pairs: dict[str, list[tuple[str, str]]] = {name: [] for name in same}
    for _, fields in source.rows() if same else ():
        for name in same:
            if not empty(fields.get(name)) and not empty(fields.get(roles.label)):
                pairs[name].append((str(fields[name]), str(fields[roles.label])))
    echoes = [name for name in same if _same_partition(pairs[name])]
    notes += [
        f"column {name!r} says what {roles.label!r} says and is left out (to use its names: --label {name})"
        for name in echoes
    ]
    return [c for c in rest if c.name not in echoes]


def _same_partition(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether two columns say the same thing: each value of one goes with one of the other."""
    distinct = set(pairs)
    return len(distinct) == len({a for a, _ in distinct}) == len({b for _, b in distinct}) < len(pairs)


def without_twins(
    columns: Sequence[Column], files: Files, asked: Container[str], notes: list[str]
) -> list[Column]:
    """The columns without those whose cells find the files of another one, such as an id.

    Of two, the one whose cells look like files stays, else the first; what the person `asked` for always does.
    """
    found = files_of(columns, files)
    kept: list[Column] = []
    for column in sorted(columns, key=_looks, reverse=True):
        same = next((one for one in kept if same_files(column, one, found)), None)
        if same is None or column.name in asked:
            kept.append(column)
        else:
            notes.append(f"column {column.name!r} names the files of {same.name!r} and is left out")
    return [column for column in columns if column in kept]


def files_of(columns: Sequence[Column], files: Files) -> dict[str, set[str]]:
    """The files that each column's first cells find."""
    return {
        column.name: {path for v in column.examples if isinstance(v, str) and (path := files.find(v))}
        for column in columns
        if not column.amounts
    }


def same_files(one: Column, other: Column, found: Mapping[str, set[str]]) -> bool:
    """Whether most cells of one column find files that the other's find as well (`files_of`)."""
    common = found.get(one.name, set()) & found.get(other.name, set())
    return bool(common) and 2 * len(common) > min(len(one.examples), len(other.examples))


def _looks(column: Column) -> float:
    """The share of cells that look like a file."""
    looking = sum(isinstance(value, str) and looks_like_file(value) for value in column.examples)
    return looking / max(len(column.examples), 1)
