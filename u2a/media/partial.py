"""What was lost of a file that is used all the same: told by decoders, counted by whoever asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from u2a.errors import BadSample

#: The share of a duration that may be lost.
MOST_LOST = 0.05
_ROUNDING = 0.005  # seconds

_losses: ContextVar[list[str] | None] = ContextVar("losses", default=None)


@contextmanager
def noting_losses() -> Iterator[list[str]]:
    """Collects, inside the block, a line for each file of which a part was lost."""
    found: list[str] = []
    token = _losses.set(found)
    try:
        yield found
    finally:
        _losses.reset(token)


def judge_loss(have: float, wanted: float, kind: str) -> None:
    """One rule for every codec: what decodes is used if at least 95 % of the wanted seconds are there.

    Raises:
        BadSample: less is there; says how much.
    """
    lost = wanted - have
    if lost <= _ROUNDING and lost <= MOST_LOST * wanted:
        return
    if lost > MOST_LOST * wanted:
        raise BadSample(
            f"only {int(100 * have / wanted)}% of the {kind} can be decoded ({have:.2f} of {wanted:.2f} s)"
        )
    tell_loss(f"{lost / wanted:.1%} of the {kind} is damaged and was left out")


def tell_loss(text: str) -> None:
    """Tell whoever asked; nobody may have."""
    found = _losses.get()
    if found is not None:
        found.append(text)
