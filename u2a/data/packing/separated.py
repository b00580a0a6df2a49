"""Tables as text, a row a line: which character separates the cells, and what quotation marks mean."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from u2a.data.packing.columns import check_columns, column_name
from u2a.data.packing.quotes import Quotes, fits, look_at_quotes
from u2a.errors import U2AError

#: csv refuses cells over 128 KiB by default; a long text may well be one.
MAX_CELL = 1 << 26
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
TABBED = (".tsv", ".tab")
#: Lines that the separator is found from.
_HEAD = 50


def read_separated(
    required: Sequence[str], path: Path, encoding: str, problems: list[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """See `u2a.data.packing.tables.reader`.

    Raises:
        U2AError: it has no header, lacks a required column, or its quotation marks make no cells.
    """
    csv.field_size_limit(MAX_CELL)
    with open(path, encoding=encoding, newline="") as stream:
        separator, skip = _separator([*islice(stream, _HEAD)], required, path.suffix.lower() in TABBED)
        quotes = look_at_quotes(lambda: _rewound(stream, skip), separator)
        problems += [f"line {line + skip}: {fault}" for line, fault in quotes.faults.items()]
        yield from _rows(_rewound(stream, skip), separator, skip, required, quotes, path, problems)


def _rewound(stream: TextIO, skip: int) -> TextIO:
    stream.seek(0)
    for _ in range(skip):
        stream.readline()
    return stream


def _rows(
    stream: Iterable[str],
    separator: str,
    skip: int,
    required: Sequence[str],
    quotes: Quotes,
    path: Path,
    problems: list[str],
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.reader(
        stream,
        strict=True,
        delimiter=separator,
        quoting=csv.QUOTE_NONE if quotes.literal else csv.QUOTE_MINIMAL,
    )
    began = 0
    try:
        names = [column_name(name) for name in next(rows, [])]
        check_columns(
            path, [name for name in names if name], required, f", separated by {SEPARATORS[separator]},"
        )
        began = rows.line_num
        for cells in rows:
            line, began = began + 1, rows.line_num
            if line in quotes.faults or not any(cells):  # an empty line, or one of a sheet's empty rows
                continue
            if fits(names, cells):
                yield rows.line_num + skip, dict(_cells(names, cells))
            else:
                problems.append(
                    f"line {rows.line_num + skip}: has {len(cells)} cells, the header has {len(names)}"
                )
    except csv.Error as error:
        here, row = rows.line_num + skip, began + 1 + skip
        since = "" if row == here else f", in a row that a quotation mark opens on line {row}"
        raise U2AError(f"{path}: line {here}: not CSV: {error}{since}") from None


def _separator(head: Sequence[str], required: Sequence[str], tabbed: bool) -> tuple[str, int]:
    """What separates the cells, and lines to skip: Excel's ``sep=;``.

    The one that finds required columns, else makes as many cells of the second row as of the header, else the
    one that the file is named for, else the one of most cells.
    """
    if head and (match := re.fullmatch(r"sep=([,;|\t])\s*", head[0])):
        return match[1], 1

    def score(separator: str) -> tuple[int, bool, bool, int]:
        rows = csv.reader(head, delimiter=separator)
        names = [column_name(name) for name in next(rows, [])]
        plain = [line.rstrip("\r\n").split(separator) for line in head[rows.line_num : rows.line_num + 1]]
        agree = any(fits(names, cells) for cells in (next(rows, names), *plain))
        own = tabbed and separator == "\t"
        several = len(names) > 1
        return sum(name in required for name in names), agree and several, own and several, len(names)

    order = sorted(SEPARATORS, key=lambda one: tabbed and one != "\t")
    return max(order, key=score), 0


def _cells(names: Sequence[str], cells: Sequence[str]) -> Iterator[tuple[str, str]]:
    for place, (name, cell) in enumerate(zip(names, cells, strict=False), 1):
        if name:
            yield name, cell
        elif cell:
            yield f"(column {place}, without a name)", cell
