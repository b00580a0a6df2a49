"""One logger on a thread of its own: whatever it does there, the training goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from u2a.contract.blame import reason_of
from u2a.contract.extensions import LineKind, Logger

#: What a logger may have before it; one that falls further behind is given up.
WAITING = 10_000


class Line(NamedTuple):
    """What `Logger.log` takes."""

    values: Mapping[str, float]
    step: int
    kind: LineKind


class LoggerThread:
    """A logger that is opened, fed and closed on its own daemon thread.

    It cannot hold the training up, take its signals (Python gives those to the main thread alone), or end the
    process with SystemExit.

    Args:
        open_: makes the logger.

    Attributes:
        fault: why it was given up, once it was; "" before.
    """

    def __init__(self, open_: Callable[[], Logger]) -> None:
        self.fault = ""
        self._lines: queue.Queue[Line | bool] = queue.Queue(WAITING)  # at last, whether the training failed
        self._thread = threading.Thread(target=self._work, args=(open_,), daemon=True, name="u2a logger")
        self._thread.start()

    def log(self, values: Mapping[str, float], step: int, kind: LineKind) -> None:
        """Hand it a copy of the values."""
        self._put(Line(dict(values), step, kind))

    def close(self, failed: bool) -> None:
        """Ask it to finish; `wait` tells whether it has."""
        self._put(failed)

    def wait(self, seconds: float) -> bool:
        """Wait for it to finish; False if it has not within that time."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def _put(self, message: Line | bool) -> None:
        try:
            self._lines.put_nowait(message)
        except queue.Full:
            self.fault = self.fault or f"it is {WAITING} lines behind"

    def _work(self, open_: Callable[[], Logger]) -> None:
        try:
            logger = open_()
            while isinstance(message := self._lines.get(), Line):
                if self.fault:
                    return
                logger.log(*message)
            logger.close(message)
        except BaseException as error:  # a stranger's code: anything can come out of it
            self.fault = reason_of(error)
