"""SIGINT and SIGTERM ask a training for a stop, which is saved; asked again, it stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """Which signal asked for a stop, while the block runs; 0 = none.

    Many processes stop together only: torchrun passes every signal on, so theirs come twice anyway.

    Args:
        alone: one process trains: a second signal raises `KeyboardInterrupt` at once.
    """

    def __init__(self, *, alone: bool) -> None:
        self.alone, self.asked = alone, 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]
        self._before = {}

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        again, self.asked = bool(self.asked), signum
        if again and self.alone:
            raise KeyboardInterrupt
