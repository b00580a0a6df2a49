"""What somebody may have meant by a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from u2a.common.values import short, told_apart


def alike(name: str, known: Collection[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names most like it, the likest first."""
    return difflib.get_close_matches(name, list(known), n=n, cutoff=cutoff)


def meant(name: str, near: Sequence[str]) -> str:
    """``; did you mean 'x'?`` for the first of the near ones; nothing if there is none."""
    if not near:
        return ""
    mine, other = told_apart(name, near[0])
    return f"; did you mean {other}?" + (f" (this one is {mine})" if mine != short(name) else "")


def nearest(name: str, known: Collection[str]) -> str:
    """`meant` of the known names, or these if few, else nothing."""
    known_if_few = f" (known: {', '.join(known)})" if 0 < len(known) <= 12 else ""
    return meant(name, alike(name, known)) or known_if_few
