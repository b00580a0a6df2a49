"""Which column says whom samples are of: parted, what is learned of one would be tested on the same one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from u2a.starting.columns import Column, empty
from u2a.starting.labels import Labels
from u2a.starting.source import Source

_WHO = re.compile(
    r"group|(patient|subject|participant|lesion|speaker|actor)s?([ _-]?(id|no|nr|num|number|code|name))?"
)
#: Groups that are needed to fill train, val and test.
LEAST = 3


def group_column(source: Source, columns: Mapping[str, Column], labels: Labels, notes: list[str]) -> str | None:
    """The column whose samples are kept together, if one is called so and can be; else says why not."""
    for column in _called(columns, labels.column):
        held = _held(source, column, labels)
        names = set[str]().union(*held.values())
        few = {name for name, found in held.items() if len(found) < LEAST}
        of_few = sum(labels.counts[name] for name in few)
        if len(names) < LEAST:
            why = f"it names {len(names)}, too few to fill train, val and test"
        elif 5 * of_few > labels.counts.total():
            why = f"{len(few)} of {len(held)} classes have samples of fewer than {LEAST}"
        else:
            return column.name
        notes.append(f"samples of one {column.name!r} are not kept together: {why}")
    return None


def _called(columns: Mapping[str, Column], label: Column) -> Iterator[Column]:
    """Columns whose names say whom samples are of, and whose values repeat."""
    for column in columns.values():
        repeats = column.counts is None or 1 < len(column.counts) < column.filled
        if repeats and column is not label and _WHO.fullmatch(column.name.casefold()):
            yield column


def _held(source: Source, column: Column, labels: Labels) -> dict[str, set[str]]:
    """Of whom each class has samples."""
    held = defaultdict[str, set[str]](set)
    labels.begin()
    for place, fields in source.rows():
        who, value = fields.get(column.name), fields.get(labels.column.name)
        if not empty(who) and not labels.none(value):
            for name in labels.read(place, value):
                held[name].add(str(who))
    return held
