"""What each modality contributes: Shapley values over all availability patterns, and pair interactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from u2a.evaluation.scenarios import EXACT
from u2a.evaluation.shapley import pair_interactions, sampled_shapley_values, shapley_values
from u2a.report.values.sources import Differences

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coalition:
    """The headline score with only some modalities present, over all samples of the split.

    A sample that has none of them is predicted from an all-zero fusion, so that every coalition, the empty
    one included, is scored on the same samples.

    Attributes:
        score: ``[]``; class_C: of each class, NaN without samples; value_N: its pseudo-values.
        share: whether it is a share of the samples.
    """

    score: Array
    class_C: Array
    value_N: Array
    share: bool = False


def contributions(
    coalition: Callable[[int], Coalition], names: Sequence[str], classes: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Contributions overall (with 95 % intervals) and by class.

    Args:
        coalition: by the bits of the modalities present, bit m for ``names[m]``.
        classes: class names, as many as ``class_C`` has entries.

    Returns:
        ``exact``; the scores ``complete`` and ``empty``, whose difference the values add up to; ``values`` by
        modality; ``classes`` by class and modality; ``pairs``, beyond `EXACT` modalities empty.
    """
    M, exact = len(names), len(names) <= EXACT
    values, values_MC, values_MN = (
        _values(coalition, part, M, exact, seed) for part in ("score", "class_C", "value_N")
    )
    intervals = _intervals(values_MN, coalition(0).share)
    return {
        "exact": exact,
        "empty": float(coalition(0).score),
        "complete": float(coalition(2**M - 1).score),
        "values": {name: {"value": float(values[m]), "interval": intervals[m]} for m, name in enumerate(names)},
        "classes": {
            name: {modality: float(values_MC[m, c]) for m, modality in enumerate(names)}
            for c, name in enumerate(classes)
            if not np.isnan(values_MC[0, c])
        },
        "pairs": _pairs(coalition, names) if exact else [],
    }


def _game(coalition: Callable[[int], Coalition], part: str, M: int) -> Array:
    return np.stack([getattr(coalition(S), part) for S in range(2**M)])


def _values(coalition: Callable[[int], Coalition], part: str, M: int, exact: bool, seed: int) -> Array:
    if exact:
        return shapley_values(_game(coalition, part, M))
    return sampled_shapley_values(lambda S: getattr(coalition(S), part), M, seed)


def _pairs(coalition: Callable[[int], Coalition], names: Sequence[str]) -> list[dict[str, Any]]:
    if len(names) < 2:
        return []
    values, values_MMN = (
        pair_interactions(_game(coalition, part, len(names))) for part in ("score", "value_N")
    )
    chosen = list(combinations(range(len(names)), 2))
    intervals = _intervals(np.stack([values_MMN[i, j] for i, j in chosen]), coalition(0).share)
    return [
        {"pair": [names[i], names[j]], "value": float(values[i, j]), "interval": interval}
        for (i, j), interval in zip(chosen, intervals, strict=True)
    ]


def _intervals(value_KN: Array, share: bool) -> list[list[float]]:
    return Differences.of_one(value_KN.T[None], share).intervals()
