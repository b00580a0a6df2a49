"""What a decoder has to say of a file that it could use all the same, on its way to whoever counts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


def remark(text: str) -> None:
    """Tell, in a few words, what was lost; unheard outside of `remarks`."""
    heard = _current.get()
    if heard is not None and text not in heard:
        heard.append(text)


@contextmanager
def remarks() -> Iterator[list[str]]:
    """The remarks made within the block."""
    token = _current.set(heard := [])
    try:
        yield heard
    finally:
        _current.reset(token)
