"""Locks between processes."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

SHARED, EXCLUSIVE, NOW = fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_NB


class Lock:
    """An advisory lock on a file, which is made if need be; the system releases it when the process dies.

    Args:
        kind: SHARED or EXCLUSIVE, with NOW instead of waiting.
        make: make the file; without it one that may only be read will do.

    Raises:
        BlockingIOError: with NOW, if another holds it.
    """

    def __init__(self, path: Path, kind: int, *, make: bool = True) -> None:
        flags = os.O_RDWR | os.O_CREAT if make else os.O_RDONLY
        self._descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
        self.close = weakref.finalize(self, os.close, self._descriptor)  # one that is dropped is released too
        try:
            fcntl.flock(self._descriptor, kind)
        except OSError:
            self.close()
            raise

    def at(self, path: Path) -> bool:
        """Whether the locked file is still the one at `path`: who held it before may have removed it."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except FileNotFoundError:
            return False

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
