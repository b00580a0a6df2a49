"""Forking without harm."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def forking() -> Iterator[None]:
    """Processes that are forked inside never collect what the parent has left lying about.

    A scaler of FFmpeg joins its threads when it is freed, and a forked process has none of them: it would
    wait for ever.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
