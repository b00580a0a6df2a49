"""No warnings of decoders, in any number of threads."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_inside = threading.Lock()
_entered = ExitStack()
_threads = 0
# A fork may happen while another thread holds the lock; that thread is not in the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _inside.release() if _inside.locked() else None)


@contextmanager
def no_warnings() -> Iterator[None]:
    """No warnings while any thread is inside: the filters are the process's, so the last one restores them."""
    global _threads
    with _inside:
        if _threads == 0:
            _entered.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _threads += 1
    try:
        yield
    finally:
        with _inside:
            _threads -= 1
            if _threads == 0:
                _entered.close()
