"""What may ask a training for a stop, which is saved: SIGINT and SIGTERM, or whoever is told of its records.

A signal that comes twice stops it at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from u2a.contract.engines import Report


class StopSignal:
    """Which signal asked for a stop, while the block runs; 0 = none.

    Many processes stop together only: torchrun passes every signal on, so theirs come twice anyway. Off the
    main thread no signal arrives; `report` asks there.

    Args:
        alone: one process trains: a second signal raises `KeyboardInterrupt` at once.
        report: is told of every record, and may ask for a stop.
    """

    def __init__(self, *, alone: bool, report: Report | None = None) -> None:
        self.alone, self.asked, self.report = alone, 0, report
        self._untold: list[dict[str, Any]] = []
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
        if kind is None:
            self.tell()

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record until `tell`."""
        if self.report is not None:
            self._untold.append(record)

    def tell(self) -> None:
        """Hand over the records that were added; what they speak of is saved by now."""
        told, self._untold = self._untold, []
        for record in told:
            if self.report is not None and self.report(record):
                self.asked = self.asked or signal.SIGTERM

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        again, self.asked = bool(self.asked), signum
        if again and self.alone:
            raise KeyboardInterrupt
