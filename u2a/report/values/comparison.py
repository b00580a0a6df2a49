"""Recipes beside each other: differences that count both the test samples and the seeds.

Shape suffixes: N samples, K recipes beside the first, S seeds, R redrawings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from u2a.report.values.intervals import outside
from u2a.report.values.pseudovalues import PseudoValues
from u2a.report.values.scores import Scores
from u2a.report.values.sources import Differences

Verdict = Literal["better", "worse", "not told apart"]


def compare_recipes(
    recipes: Sequence[Sequence[PseudoValues]], higher_is_better: bool, seed: int = 0
) -> list[dict[str, Any]]:
    """Compare recipes with the first, each given by the pseudo-values of its runs (one a seed).

    Returns:
        For each: ``score`` (mean over seeds), ``by_seed``, ``interval``; from the second on ``difference``,
        ``difference_interval`` (alone), ``simultaneous_interval`` (all rows together), ``better``: the share of
        redrawings of samples and seeds in which it beats the first, ties counted half, ``seeds_counted`` and
        ``verdict``. With one seed on either side nothing is known of the seeds: the verdict is None.
    """
    rows: list[dict[str, Any]] = []
    for runs in recipes:
        found = Scores.of_seeds(runs)
        (interval,) = found.intervals()
        by_seed = [float(run.score) for run in runs]
        rows.append({"score": float(found.score_K[0]), "by_seed": by_seed, "interval": interval})
    differences = _differences(recipes)
    alone = differences.intervals()
    together = differences.intervals(differences.simultaneous(seed))
    better_K = differences.better(higher_is_better, seed)
    first = recipes[0]
    for k, (row, runs) in enumerate(zip(rows[1:], recipes[1:], strict=True)):
        counted = min(len(first), len(runs)) > 1
        row |= {
            "difference": row["score"] - rows[0]["score"],
            "difference_interval": alone[k],
            "simultaneous_interval": together[k],
            "better": float(better_K[k]),
            "seeds_counted": counted,
            "verdict": _verdict(together[k], higher_is_better) if counted else None,
        }
    return rows


def _differences(recipes: Sequence[Sequence[PseudoValues]]) -> Differences:
    """Of each recipe from the first; every recipe's seeds move its own row, the first's move all."""
    means = [np.mean([run.value_N for run in runs], 0) for runs in recipes]
    value_NK = np.stack([mean_N - means[0] for mean_N in means[1:]], 1)
    K, seeds = value_NK.shape[1], []
    for r, runs in enumerate(recipes):
        sign_K = np.full(K, -1.0) if r == 0 else np.eye(K)[r - 1]
        seeds.append(np.array([[np.nanmean(run.value_N)] for run in runs]) * sign_K)
    size_K = (~np.isnan(value_NK)).sum(0).astype(float)
    return Differences(value_NK, tuple(seeds), size_K, recipes[0][0].share)


def _verdict(interval: Sequence[float], higher_is_better: bool) -> Verdict:
    if not outside(interval):
        return "not told apart"
    return "better" if (interval[0] > 0) == higher_is_better else "worse"
