"""What a perfect classifier could reach on the quickstart: Bayes' rule on the generator's own probabilities.

It reads every sign without a fault, knows `world.CODE` and `world.WRONG`, and names the likeliest ship. No
model can expect more, whatever it is trained on; one that misreads signs reaches less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, product
from math import prod
from types import MappingProxyType

from u2a_quickstart.world import CLASSES, CODE, MODALITIES, WRONG

#: Accuracy by present modalities, to four places; `ceiling` computes them, a test compares.
CEILINGS: Mapping[tuple[str, ...], float] = MappingProxyType(
    {
        ("image",): 0.3000,
        ("audio",): 0.2833,
        ("text",): 0.3000,
        ("video",): 0.2667,
        ("image", "audio"): 0.7800,
        ("image", "text"): 0.8200,
        ("image", "video"): 0.7400,
        ("audio", "text"): 0.7800,
        ("audio", "video"): 0.6989,
        ("text", "video"): 0.7400,
        ("image", "audio", "text"): 0.8360,
        ("image", "audio", "video"): 0.8020,
        ("image", "text", "video"): 0.8347,
        ("audio", "text", "video"): 0.8020,
        ("image", "audio", "text", "video"): 0.9262,
    }
)


def ceiling(present: Iterable[str]) -> float:
    """Exact accuracy of the Bayes classifier that sees the signs of the present modalities.

    The ships are equally frequent, so that it is the sum over all combinations of signs of the largest
    joint probability of combination and ship.
    """
    seen = [m for m in MODALITIES if m in set(present)]
    best = (
        max(prod(_probability(m, ship, sign) for m, sign in zip(seen, signs, strict=True)) for ship in _SHIPS)
        for signs in product(range(4), repeat=len(seen))
    )
    return sum(best) / len(CLASSES)


def subsets() -> list[tuple[str, ...]]:
    """Every non-empty set of modalities, small ones first, in the order of `world.MODALITIES`."""
    return [s for size in range(1, len(MODALITIES) + 1) for s in combinations(MODALITIES, size)]


_SHIPS = range(len(CLASSES))


def _probability(modality: str, ship: int, sign: int) -> float:
    wrong = WRONG[modality]
    return 1 - wrong if sign == CODE[modality][ship] else wrong / 3
