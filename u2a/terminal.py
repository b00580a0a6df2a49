"""What is printed, whatever it is printed to: any encoding, any width, a terminal or a pipe."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:  # `u2a --help` prints no table
    from rich.table import Column, Table

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


def print_table(table: Table) -> None:
    """Print a table of text in which nothing is cut: no word and no number, however narrow the terminal is.

    Where it does not fit, it is wider, and the terminal breaks its lines; on a pipe none is broken.
    """
    from rich.cells import cell_len
    from rich.console import Console

    for column in table.columns:
        column.overflow = "fold"
        column.min_width = max((cell_len(word) for text in _texts(column) for word in text.split()), default=1)
    console = Console(highlight=False, emoji=False)
    free = not console.is_terminal and not os.environ.get("COLUMNS")
    widths = [max(map(cell_len, _texts(c))) if free else c.min_width or 1 for c in table.columns]
    needed = sum(widths) + 2 * len(widths) + 2
    console.print(table, width=max(needed, 0 if free else console.width), crop=False)


def _texts(column: Column) -> Iterator[str]:
    """The header and every cell as they are shown."""
    from rich.text import Text

    for cell in (column.header, *column.cells):
        yield cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain
