"""The table of availability patterns, over all seeds of the first run's recipe.

Shape suffixes: N samples, K patterns, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from u2a.report.values.intervals import outside
from u2a.report.values.pseudovalues import PseudoValues
from u2a.report.values.scores import Scores
from u2a.report.values.sources import Differences


@dataclass(frozen=True)
class PatternValues:
    """One pattern of one run.

    Attributes:
        present, missing, n, n_empty: as in `u2a.evaluation.scoring.Scenario`.
        scores: all metrics; own: pseudo-values of the headline score.
        beside: the same with all that the data has, on the samples that the pattern leaves.
    """

    present: tuple[bool, ...]
    missing: tuple[str, ...]
    n: int
    n_empty: int
    scores: dict[str, float]
    own: PseudoValues
    beside: PseudoValues


def pattern_rows(
    runs: Sequence[Sequence[PatternValues]], higher_is_better: bool, seed: int = 0
) -> list[dict[str, Any]]:
    """A row a pattern, the complete one first: means over the runs, which differ in their seed alone.

    Returns:
        For each: ``present``, ``missing``, ``n``, ``n_empty``, ``scores``, ``by_seed``, ``undefined``
        (left-out samples without which there is no score; they tell nothing), ``interval`` and
        ``corrected`` (what it is built around), ``bound`` (no true score is worse, all patterns together),
        ``complete`` (on the same samples), ``difference``, ``difference_interval`` (alone),
        ``simultaneous_interval`` (all rows together) and ``beyond_chance``: whether that one says it is worse.
    """
    first = runs[0]
    metric = next(iter(first[0].scores))
    scores = pattern_scores(runs)
    intervals, bounds, centers_K = scores.intervals(), scores.bounds(higher_is_better, seed), scores.centers
    differences = pattern_differences(runs)
    c = differences.simultaneous(seed)
    none: list[list[float]] = [[0.0, 0.0]]
    # No score changes by more than 1; with two seeds, Student's quantile reaches further.
    alone, together = (none + np.clip(differences.intervals(z), -1, 1).tolist() for z in (0.0, c))
    rows = []
    for k, pattern in enumerate(first):
        same = [run[k] for run in runs]
        complete = float(np.mean([one.beside.score for one in same]))
        mean = {name: float(np.mean([one.scores[name] for one in same])) for name in pattern.scores}
        rows.append(
            {
                "present": list(pattern.present),
                "missing": list(pattern.missing),
                "n": pattern.n,
                "n_empty": pattern.n_empty,
                "scores": mean,
                "by_seed": [one.scores[metric] for one in same],
                "interval": intervals[k],
                "corrected": float(np.clip(centers_K[k], 0, 1)),
                "bound": bounds[k],
                "undefined": sum(one.own.undefined for one in same),
                "complete": complete,
                "difference": mean[metric] - complete,
                "difference_interval": alone[k],
                "simultaneous_interval": together[k],
                "beyond_chance": worse(together[k], higher_is_better),
            }
        )
    return rows


def pattern_scores(runs: Sequence[Sequence[PatternValues]]) -> Scores:
    """The headline score of every pattern."""
    value_SNK = np.stack([np.stack([one.own.value_N for one in run], 1) for run in runs])
    score_K = np.mean([[one.own.score for one in run] for run in runs], 0)
    complete = runs[0][0].own
    unseen_K = np.mean([[one.own.unseen for one in run] for run in runs], 0)
    return Scores(value_SNK, score_K, complete.most, complete.share, unseen_K=unseen_K)


def pattern_differences(runs: Sequence[Sequence[PatternValues]]) -> Differences:
    """Of every pattern but the first, from the complete one on the same samples."""
    N, K = len(runs[0][0].own.value_N), len(runs[0]) - 1
    value_SNK = np.empty((len(runs), N, K))
    for s, run in enumerate(runs):
        for k, one in enumerate(run[1:]):
            value_SNK[s, :, k] = one.own.value_N - one.beside.value_N
    return Differences.of_one(value_SNK, runs[0][0].own.share)


def worse(interval: Sequence[float], higher_is_better: bool) -> bool:
    """Whether a difference's interval lies on the side of a loss."""
    return outside(interval) and bool(interval[1] < 0 if higher_is_better else interval[0] > 0)
