"""Quotation marks of a table: around cells, or a part of texts, where one that opens swallows the next rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from u2a.data.packing.columns import column_name

#: A column of at most so many different values, short and each there twice in the mean, tells rows from text.
_FEW, _SHORT = 1000, 60


@dataclass(frozen=True)
class Quotes:
    """What the quotation marks of a table are.

    Attributes:
        literal: whether they are part of the texts.
        faults: what is wrong, by the line that a row begins on.
    """

    literal: bool = False
    faults: dict[int, str] = field(default_factory=dict)


def look_at_quotes(lines: Callable[[], Iterable[str]], separator: str) -> Quotes:
    """Read a table for its quotation marks.

    A cell that goes on over several lines, each of which is a row by itself, was opened by a mark that is part
    of a text: tables with tabs are often written without any quoting. Between tabs that is taken for granted
    unless the lines look like no rows; elsewhere, as texts may well hold as many commas, they must look like
    rows. If all lines of a table with tabs are rows then its marks are literal; else such cells are faults.

    Args:
        lines: gives the lines from the first.
        separator: between the cells.
    """
    table = _Table(separator)
    broken = table.read(lines())
    tabs = separator == "\t"
    odd = {
        line: last
        for line, (last, rows) in table.spans.items()
        if (looks := table.look_like_rows(rows)) or (tabs and looks is None and not table.quoted)
    }
    if tabs and (odd or broken) and not table.quoted and table.plain(lines()):
        return Quotes(literal=True)
    return Quotes(faults={line: _fault(last) for line, last in odd.items()})


def fits(names: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether a row may belong to a header: it lacks or adds nothing but cells without name and text."""
    return not any(cells[len(names) :]) and not any(names[len(cells) :])


def _fault(last: int) -> str:
    return (
        f"a quotation mark opens a cell that goes on to line {last}, over lines that are rows of their own; "
        'delete it, or put the whole cell in quotation marks and write "" for each inside'
    )


def _needs_marks(line: str, cells: Sequence[str], separator: str) -> bool:
    """Whether marks around a cell of a line are surely no text: it has a separator in it, or doubled marks."""
    doubled = ('"{}"'.format(cell.replace('"', '""')) for cell in cells if '"' in cell)
    return line.count(separator) >= len(cells) or any(cell in line for cell in doubled)


class _Lines:
    """Lines, and those that the last row took."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.taken.append(line)
        return line


class _Table:
    """What a table read with quoted cells shows.

    Attributes:
        spans: rows over several lines that may be rows by themselves: by the first line, the last one and the
            cells of those that may be.
        quoted: whether marks surely stand around cells: in the header, around what needs them.
    """

    def __init__(self, separator: str) -> None:
        self._separator = separator
        self._names: list[str] = []
        self._rows = 0
        self._values: list[set[str] | None] = []
        self._filled: list[bool] = []
        self.spans: dict[int, tuple[int, list[list[str]]]] = {}
        self.quoted = False

    def read(self, stream: Iterable[str]) -> bool:
        """Read all rows; whether the marks of one make no cells."""
        lines = _Lines(stream)
        rows = csv.reader(lines, strict=True, delimiter=self._separator)
        try:
            self._names = [column_name(name) for name in next(rows, [])]
            self.quoted = '"' in "".join(lines.taken)
            self._values = [set() for _ in self._names]
            self._filled = [True for _ in self._names]
            lines.taken.clear()
            for cells in rows:
                if len(lines.taken) == 1:
                    self._see(cells)
                    self.quoted |= _needs_marks(lines.taken[0], cells, self._separator)
                else:
                    self._note(rows.line_num, lines.taken)
                lines.taken.clear()
        except csv.Error:
            return True
        return False

    def plain(self, stream: Iterable[str]) -> bool:
        """Whether every line is a row if marks are part of the texts."""
        rows = csv.reader(stream, delimiter=self._separator, quoting=csv.QUOTE_NONE)
        try:
            return all(not any(cells) or fits(self._names, cells) for cells in rows)
        except csv.Error:
            return False

    def look_like_rows(self, rows: Sequence[Sequence[str]]) -> bool | None:
        """Whether lines hold, in a column of few values, values of other rows; None without such a column.

        They do not where one lacks what all other rows have: an indented line of a program, say.
        """
        if any(not cells[place] for cells in rows for place, filled in enumerate(self._filled) if filled):
            return False
        few = {
            place: values
            for place, values in enumerate(self._values)
            if values is not None and 0 < len(values) <= self._rows / 2
        }
        found = [
            all(cells[place] in values for cells in rows) and any(cells[place] for cells in rows[:-1])
            for place, values in few.items()
        ]
        return any(found) if found else None

    def _see(self, cells: Sequence[str]) -> None:
        if not any(cells) or len(cells) != len(self._names):
            return
        self._rows += 1
        for place, cell in enumerate(cells):
            self._filled[place] &= bool(cell)
            if (values := self._values[place]) is not None:
                values.add(cell)
                if len(values) > _FEW or len(cell) > _SHORT:
                    self._values[place] = None

    def _note(self, last: int, lines: Sequence[str]) -> None:
        """The first and the last line must be rows, and most of those between: one may be broken."""
        cut = [line.rstrip("\r\n").split(self._separator) for line in lines if line.strip()]
        rows = [cells for cells in cut if len(cells) == len(self._names)]
        ends = rows[:1] == cut[:1] and rows[-1:] == cut[-1:]
        if len(self._names) > 1 and len(rows) > 1 and ends and 2 * len(rows) > len(cut):
            self.spans[last - len(lines) + 1] = last, rows
        else:
            self.quoted = True
