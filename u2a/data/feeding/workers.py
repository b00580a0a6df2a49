"""Starting loader processes from wherever u2a is called: scripts, notebooks, daemons."""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_SWAPPING = threading.Lock()


def allowed_workers(wanted: int) -> int:
    """How many loader processes this one may start: a daemonic one (of Celery, say) may have no children."""
    daemonic = multiprocessing.current_process().daemon
    return 0 if daemonic else wanted


@contextmanager
def without_main_script(loader: Any) -> Iterator[None]:
    """Start workers that do not run the caller's script once more.

    Where processes are not forked (macOS, Python 3.14, shards over http), Python runs the main script in each
    new one, so that one without ``if __name__ == "__main__":`` would train or evaluate again in there, and
    fails. Workers need nothing of it, unless what they are sent is defined in it.
    """
    context = loader.multiprocessing_context or multiprocessing.get_context()
    if not loader.num_workers or context.get_start_method() == "fork" or _needs_main(loader):
        yield
        return
    with _SWAPPING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _needs_main(loader: Any) -> bool:
    return b"__main__" in pickle.dumps((loader.dataset, loader.collate_fn))


def death_of_worker(loader: Any) -> str:
    """What may have killed a worker, and what to do."""
    context = loader.multiprocessing_context or multiprocessing.get_context()
    if context.get_start_method() != "fork" and _needs_main(loader):
        return (
            "a data worker died: it runs your script again to find what is defined in it; put what the script "
            'does under `if __name__ == "__main__":`, or set data.workers = 0'
        )
    return (
        "a data worker died: too little memory (of /dev/shm, in a container), or a file that crashes its "
        "decoder; what was saved before is whole; data.workers = 0 reads in the main process"
    )
