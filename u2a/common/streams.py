"""Standard output in any encoding: a terminal, a pipe, or a Windows code page."""

from __future__ import annotations

import codecs
import sys
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
