"""Standard output of any encoding and width: a terminal, a pipe, a Windows code page."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TextIO

_ESCAPE = "u2a.escape"


def prepare_streams() -> None:
    """Let standard output and error take any text: what their encoding lacks becomes ``\\u1234``.

    That is what it is called in JSON and TOML as well.
    """
    codecs.register_error(_ESCAPE, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ESCAPE)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    numbers = map(ord, error.object[error.start : error.end])
    return "".join(f"\\u{n:04x}" if n < 0x10000 else f"\\U{n:08x}" for n in numbers), error.end


def can_print(text: str, stream: TextIO | None = None) -> bool:
    """Whether a stream (standard output) has all the characters of a text."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def dots() -> tuple[str, str]:
    """Marks for a modality that is present and one that is missing."""
    return ("●", "○") if can_print("●○") else ("x", "-")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in which nothing is cut: no word and no number, however narrow the terminal is.

    Where it does not fit, it is wider, and the terminal breaks its lines; on a pipe none is broken.
    """
    from rich.cells import cell_len  # `u2a --help` prints no table
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, cells = Console(), [list(header), *(list(row) for row in rows)]
    free = not console.is_terminal and not os.environ.get("COLUMNS")
    table, needed = Table(box=None), 2
    for column in zip_longest(*cells, fillvalue=""):
        least = max((cell_len(word) for cell in column for word in cell.split()), default=1)
        needed += 2 + (max(map(cell_len, column)) if free else least)
        table.add_column(Text(column[0]), min_width=least, overflow="fold")
    for row in cells[1:]:
        table.add_row(*map(Text, row))
    width = max(needed, 0 if free else console.width)
    Console(highlight=False, emoji=False, width=width).print(table, crop=False)
