"""Intervals of scores: of each alone, and the lower bounds that hold for all of them together.

Shape suffixes: N samples, K scores, S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from u2a.common.seeds import stable_seed
from u2a.report.values.intervals import LEVEL, Z, degrees_of_freedom, of_score, of_share, satterthwaite
from u2a.report.values.pseudovalues import PseudoValues
from u2a.report.values.sources import largest, redraw, resamples, seed_means

Array = NDArray[np.float64]
#: Standard errors below one score alone.
ONE_SIDED = float(stats.norm.ppf(LEVEL))


@dataclass(frozen=True)
class Scores:
    """K scores of one recipe.

    Attributes:
        value_SNK: pseudo-values; NaN = the sample does not count.
        score_K: the scores themselves, their means over seeds.
        most: how many decisions each rests on at most; share: whether each is a share of the samples; mixed:
            whether each mixes several patterns.
        unseen_K: variances beyond the values' spread (see `PseudoValues`).
    """

    value_SNK: Array
    score_K: Array
    most: float
    share: bool
    mixed: bool = False
    unseen_K: Array | None = None

    @classmethod
    def of_seeds(cls, found: Sequence[PseudoValues]) -> Scores:
        """One score, of every seed."""
        value_SNK = np.stack([values.value_N for values in found])[:, :, None]
        score = np.mean([values.score for values in found])
        unseen_K = np.array([np.mean([values.unseen for values in found])])
        return cls(value_SNK, np.array([score]), found[0].most, found[0].share, unseen_K=unseen_K)

    @property
    def centers(self) -> Array:
        """The scores less their bias: what intervals are built around."""
        used_NK = ~np.isnan(self.value_SNK[0])
        center_K = seed_means(self.value_SNK, used_NK).mean(0)
        return np.where(used_NK.any(0), center_K, np.nan)

    @property
    def unseen(self) -> Array:
        """`unseen_K`, zeros if there are none."""
        return np.zeros(len(self.score_K)) if self.unseen_K is None else self.unseen_K

    def intervals(self, z: float = Z) -> list[list[float]]:
        """Of each score; with more standard errors where it is one of many."""
        used_NK, value_NK = ~np.isnan(self.value_SNK[0]), self.value_SNK.mean(0)
        if self.share and len(self.value_SNK) == 1:
            rows = zip(self.score_K, used_NK.sum(0), strict=True)
            return [of_share(score, int(n), z) for score, n in rows]
        seed_K = self._seed_variance(used_NK)
        found = []
        for k, seed_variance in enumerate(seed_K):
            value_N = value_NK[used_NK[:, k], k]
            if len(value_N) < 2:
                found.append([np.nan, np.nan])
                continue
            sample_variance = value_N.var(ddof=1) / len(value_N) + self.unseen[k]
            variance = sample_variance + seed_variance
            df = satterthwaite(sample_variance, degrees_of_freedom(value_N), seed_variance, len(self.value_SNK))
            few, center = bool(self.unseen[k] > 0), float(value_N.mean())
            found.append(of_score(center, variance, df, self.most, z, mixed=self.mixed, few=few))
        return found

    def bounds(self, higher_is_better: bool, seed: int = 0) -> list[float]:
        """Bounds that no true score is worse than, all together, with the level's confidence."""
        used_NK, value_NK = ~np.isnan(self.value_SNK[0]), self.value_SNK.mean(0)
        n_K = np.maximum(used_NK.sum(0), 1)
        mean_K = np.where(used_NK, value_NK, 0).sum(0) / n_K
        centered_NK = np.where(used_NK, value_NK - mean_K, 0)
        error_RK = np.concatenate(
            [weight_RN @ centered_NK / n_K for weight_RN in resamples(len(value_NK), seed)]
        )
        variance_K = (centered_NK**2).sum(0) / n_K**2
        mean_SK = seed_means(self.value_SNK, used_NK)
        variance_RK = np.broadcast_to(variance_K, error_RK.shape)
        if len(mean_SK) > 1:
            draw = np.random.default_rng(stable_seed("seeds", seed))
            again_RSK = redraw(mean_SK, len(error_RK), draw)
            error_RK = error_RK + again_RSK.mean(1)
            variance_RK = variance_RK + again_RSK.var(1, ddof=1) / len(mean_SK)
        sign, side = (1, 0) if higher_is_better else (-1, 1)
        z = max(largest(sign * error_RK, variance_RK), ONE_SIDED)
        return [interval[side] for interval in self.intervals(z)]

    def _seed_variance(self, used_NK: NDArray[np.bool_]) -> Array:
        mean_SK = seed_means(self.value_SNK, used_NK)
        return mean_SK.var(0, ddof=1) / len(mean_SK) if len(mean_SK) > 1 else np.zeros(mean_SK.shape[1])
