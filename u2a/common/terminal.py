"""Where u2a speaks to people: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
console = Console(stderr=True)


def print_table(table: Table) -> None:
    """Print a table of text in which nothing is cut: no word and no number, however narrow the terminal is.

    Where it does not fit, it is wider, and the terminal breaks its lines; on a pipe none is broken.
    """
    for column in table.columns:
        column.overflow = "fold"
        column.min_width = max((cell_len(word) for text in _texts(column) for word in text.split()), default=1)
    console = Console(highlight=False, emoji=False)
    free = not console.is_terminal and not os.environ.get("COLUMNS")
    widths = [max(map(cell_len, _texts(c))) if free else c.min_width or 1 for c in table.columns]
    needed = sum(widths) + 2 * len(widths) + 2
    wide = Console(highlight=False, emoji=False, width=max(needed, 0 if free else console.width))
    wide.print(table, crop=False)


def _texts(column: Column) -> Iterator[str]:
    """The header and every cell as they are shown."""
    for cell in (column.header, *column.cells):
        yield cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
