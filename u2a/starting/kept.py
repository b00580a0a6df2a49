"""Some values of a column, drawn from all of its rows: the first ones are often all of one class."""

from __future__ import annotations

from heapq import heappush, heapreplace
from typing import Any


class Kept:
    """The values of the rows that were given the lowest ranks, in the order of the rows.

    Ranks are a row's own, so that columns that are filled in the same rows keep the same rows.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Any]] = []
        self._values: list[Any] | None = []

    def see(self, number: int, rank: float, value: Any) -> None:
        """Keep a row's value if its rank is among the lowest."""
        if len(self._heap) < self._most:
            heappush(self._heap, (-rank, number, value))
        elif -rank > self._heap[0][0]:
            heapreplace(self._heap, (-rank, number, value))
        else:
            return
        self._values = None

    def values(self) -> list[Any]:
        """What is kept."""
        if self._values is None:
            self._values = [value for _, _, value in sorted(self._heap, key=lambda one: one[1])]
        return self._values
