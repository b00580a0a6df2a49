"""One training a run folder: the second is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from u2a.data.storage.locks import EXCLUSIVE, NOW, Lock
from u2a.errors import U2AError
from u2a.runs.folder import TRAINING

#: Data workers of a training that was killed hold its lock until they notice.
PATIENCE_SECONDS = 10.0


@contextmanager
def training_in(folder: Path) -> Iterator[None]:
    """Hold a run folder (made if need be) for one training; nothing is left of a folder that stays empty.

    Raises:
        U2AError: another process trains in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _take(folder / TRAINING)
    try:
        yield
    finally:
        with suppress(OSError):
            if not (folder / "recipe.toml").exists():
                (folder / TRAINING).unlink()
        if lock is not None:
            lock.close()


def _take(path: Path) -> Lock | None:
    last = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return Lock(path, EXCLUSIVE | NOW)
        except BlockingIOError:
            if time.monotonic() > last:
                raise U2AError(
                    f"{path.parent}: another training is under way in this run folder; wait for it, stop it, "
                    "or name another folder: --run DIR"
                ) from None
            time.sleep(0.2)
        except OSError:  # a file system that knows no locks
            return None
