"""Columns that only say the label again: a model would read the answer off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from u2a.starting.columns import Column, Roles, empty
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
