"""Saving in the middle of an epoch, by the clock; what is computed never depends on it."""

from __future__ import annotations

import time


class SaveClock:
    """When the next checkpoint is due on this process.

    Args:
        minutes: between two checkpoints; 0 = never by the clock.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self.reset()

    def reset(self) -> None:
        """Something was saved just now."""
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether so much time has gone by."""
        return self._seconds > 0 and time.monotonic() - self._last >= self._seconds
