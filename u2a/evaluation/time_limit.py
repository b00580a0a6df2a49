"""A limit of time for several fits, one after another."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time


class TimeLimit:
    """So many seconds for so many fits: each may take an equal part of what the others left.

    Seconds of this thread at work: what else the machine does costs none, so that results do not hang on it.

    Attributes:
        cut: fits that were ended by it, in one of their parts or all.
    """

    def __init__(self, seconds: float, fits: int, clock: Callable[[], float] = thread_time) -> None:
        self._clock, self._end, self._left = clock, clock() + seconds, fits
        self._fit_end = self._part_end = self._end
        self.cut, self._counted = 0, False

    def begin(self) -> None:
        """The next fit begins."""
        now = self._clock()
        self._fit_end = self._part_end = now + (self._end - now) / max(1, self._left)
        self._left, self._counted = self._left - 1, False

    def part(self, left: int) -> None:
        """The next part of this fit begins; with it, so many are left."""
        now = self._clock()
        self._part_end = now + (self._fit_end - now) / left

    def up(self) -> bool:
        """Whether this part has to end."""
        late = self._clock() >= self._part_end
        self.cut += late and not self._counted
        self._counted |= late
        return late

    def over(self) -> bool:
        """Whether the whole fit has to end."""
        return self._clock() >= self._fit_end


#: As long as it takes.
UNLIMITED = TimeLimit(float("inf"), 1)
