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


@dataclass(frozen=True)
class Contributions:
    """Of one run, for M modalities, P pairs and N samples.

    Attributes:
        value_M, class_MC, sample_MN: of the score, of each class's, of each sample's pseudo-value.
        pair_P, pair_PN: interactions, those of pseudo-values, in the order of ``itertools.combinations``; empty
            beyond `EXACT` modalities.
        complete, empty: scores with all and with none; share: see `Coalition`.
    """

    value_M: Array
    class_MC: Array
    sample_MN: Array
    pair_P: Array
    pair_PN: Array
    complete: float
    empty: float
    share: bool


def of_run(coalition: Callable[[int], Coalition], M: int, seed: int = 0) -> Contributions:
    """What each of M modalities contributes in one run.

    Args:
        coalition: by the bits of the modalities present, bit m for the m-th.
    """
    value_M, class_MC, sample_MN = (
        _values(coalition, part, M, seed) for part in ("score", "class_C", "value_N")
    )
    pair_P, pair_PN = (_pairs(coalition, part, M) for part in ("score", "value_N"))
    complete, empty = (float(coalition(S).score) for S in (2**M - 1, 0))
    share = coalition(0).share
    return Contributions(value_M, class_MC, sample_MN, pair_P, pair_PN, complete, empty, share)


def contributions(
    runs: Sequence[Contributions], names: Sequence[str], classes: Sequence[str]
) -> dict[str, Any]:
    """Means over the runs, which differ in their seed alone; 95 % intervals count samples and seeds.

    Args:
        classes: class names, as many as ``class_MC`` has columns.

    Returns:
        ``exact``; the scores ``complete`` and ``empty``, whose difference the values add up to; ``values`` by
        modality; ``classes`` by class and modality; ``pairs``, beyond `EXACT` modalities empty.
    """
    class_MC = np.mean([run.class_MC for run in runs], 0)
    values = _told([run.value_M for run in runs], [run.sample_MN for run in runs], runs[0].share)
    pairs = _told([run.pair_P for run in runs], [run.pair_PN for run in runs], runs[0].share)
    return {
        "exact": len(names) <= EXACT,
        "empty": float(np.mean([run.empty for run in runs])),
        "complete": float(np.mean([run.complete for run in runs])),
        "values": dict(zip(names, values, strict=True)),
        "classes": {
            name: {modality: float(class_MC[m, c]) for m, modality in enumerate(names)}
            for c, name in enumerate(classes)
            if not np.isnan(class_MC[0, c])
        },
        "pairs": [{"pair": list(pair)} | row for pair, row in zip(combinations(names, 2), pairs, strict=False)],
    }


def _told(values: Sequence[Array], value_KN: Sequence[Array], share: bool) -> list[dict[str, Any]]:
    """A row a figure: its mean over runs, its interval, and what each run says."""
    value_SK = np.stack(values)
    if not value_SK.shape[1]:
        return []
    intervals = Differences.of_one(np.stack([one_KN.T for one_KN in value_KN]), share).intervals()
    return [
        {"value": float(value_S.mean()), "interval": interval, "by_seed": value_S.tolist()}
        for value_S, interval in zip(value_SK.T, intervals, strict=True)
    ]


def _game(coalition: Callable[[int], Coalition], part: str, M: int) -> Array:
    return np.stack([getattr(coalition(S), part) for S in range(2**M)])


def _values(coalition: Callable[[int], Coalition], part: str, M: int, seed: int) -> Array:
    if M <= EXACT:
        return shapley_values(_game(coalition, part, M))
    return sampled_shapley_values(lambda S: getattr(coalition(S), part), M, seed)


def _pairs(coalition: Callable[[int], Coalition], part: str, M: int) -> Array:
    chosen = list(combinations(range(M), 2))
    if not chosen or M > EXACT:
        return np.zeros((0, 1))
    found_MM = pair_interactions(_game(coalition, part, M))
    return np.stack([found_MM[i, j] for i, j in chosen])
