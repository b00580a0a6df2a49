"""How the cores are shared between reading samples and the network's passes."""

from __future__ import annotations

#: The newest measurement's weight.
_NEW = 0.1


class Cores:
    """Threads for the network: as many as reading leaves free, by what the two took lately.

    Threads that outnumber the free cores wait for each other in every layer, while readers run on theirs. Each
    side's seconds are written by its own threads; that one of two at once may be lost does no harm.

    Args:
        cores: how many there are, or how many threads the network may have.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._read = self._passed = 0.0

    def read(self, seconds: float) -> None:
        """So many seconds of processor time were taken to read one sample."""
        self._read = _lately(self._read, seconds)

    def passed(self, seconds: float) -> None:
        """So many, of all threads together, in the network's pass for each sample of a batch."""
        self._passed = _lately(self._passed, seconds)

    def for_network(self, *, reading: bool) -> int:
        """Threads of the next pass: all if nothing is read meanwhile, else the network's share of the work."""
        work = self._read + self._passed
        if not reading or not work:
            return self._cores
        return max(1, round(self._cores * self._passed / work))


def _lately(before: float, now: float) -> float:
    return before + _NEW * (now - before) if before else now
