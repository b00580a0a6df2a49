"""How far figures would move: with other test samples, with other seeds, and many figures at once.

A row is one figure: a mean of pseudo-values (`u2a.report.values.pseudovalues`) over test samples and seeds,
or a difference of two. Both sources add their variance. The samples' part stays in that of the seeds, which
errs on the careful side (docs/report.md has the cost), and three seeds need that. Rows share samples and seeds,
so that their largest error follows from the same resamples of samples and the same redrawn seeds.

Shape suffixes: N samples, K rows, S seeds of one recipe, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from u2a.common.seeds import stable_seed
from u2a.report.values.intervals import LEVEL, Z, degrees_of_freedom, of_mean, student

Array = NDArray[np.float64]
RESAMPLES = 1000
CHUNK = 250


@dataclass(frozen=True)
class Differences:
    """K differences of scores.

    Attributes:
        value_NK: pseudo-values of each difference, their mean over seeds; NaN = the sample does not count.
        seeds: for each recipe that takes part, ``[S, K]``: what each of its seeds adds to each row.
        size_K: how many samples could change each row: N, or those of a class.
        share: whether rows are differences of shares.
    """

    value_NK: Array
    seeds: tuple[Array, ...]
    size_K: Array
    share: bool = False

    @classmethod
    def of_one(cls, value_SNK: Array, share: bool = False) -> Differences:
        """Differences that every seed of one recipe has for itself."""
        used_NK = ~np.isnan(value_SNK[0])
        return cls(value_SNK.mean(0), (seed_means(value_SNK, used_NK),), used_NK.sum(0).astype(float), share)

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.value_NK)

    @cached_property
    def counts(self) -> Array:
        return self.used.sum(0).astype(float)

    @cached_property
    def pseudo(self) -> Array:
        """The size of the two observations that are added to every row, one on either side (Bonett and Price).

        Without them a row that hardly changes would have an interval that is far too short.
        """
        return self.counts / np.maximum(self.size_K, 1)

    @cached_property
    def centers(self) -> Array:
        """What the intervals are built around."""
        with np.errstate(invalid="ignore"):
            return np.where(self.used, self.value_NK, 0).sum(0) / (self.counts + 2 * (self.counts > 0))

    @cached_property
    def sample_variances(self) -> Array:
        square_K = np.where(self.used, self.value_NK, 0.0) ** 2
        return _variance(square_K.sum(0), self.centers, self.counts, self.pseudo)

    @cached_property
    def seed_variances(self) -> list[Array]:
        """Of each recipe that has several seeds, ``[K]``: the variance of their mean."""
        return [mean_SK.var(0, ddof=1) / len(mean_SK) for mean_SK in self.seeds if len(mean_SK) > 1]

    @cached_property
    def variances(self) -> Array:
        return self.sample_variances + sum(self.seed_variances, np.zeros(len(self.counts)))

    @cached_property
    def dfs(self) -> Array:
        """Degrees of freedom of the variance (Satterthwaite)."""
        rows = zip(self.value_NK.T, self.used.T, strict=True)
        own_K = np.array([np.inf if self.share else degrees_of_freedom(v[used]) for v, used in rows])
        numbers = [len(mean_SK) - 1 for mean_SK in self.seeds if len(mean_SK) > 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            parts_K = self.sample_variances**2 / own_K
            for variance_K, number in zip(self.seed_variances, numbers, strict=True):
                parts_K = parts_K + variance_K**2 / number
            return np.where(parts_K > 0, self.variances**2 / parts_K, np.inf)

    def intervals(self, c: float = 0.0) -> list[list[float]]:
        """Of each row alone, or with `simultaneous`'s c, of all rows at once."""
        rows = zip(self.centers, self.variances, self.dfs, self.counts, strict=True)
        return [
            of_mean(center if n else np.nan, variance, max(c, student(Z, df)))
            for center, variance, df, n in rows
        ]

    def simultaneous(self, seed: int = 0) -> float:
        """How many standard errors hold all rows together: from the largest error of each redrawing.

        Test samples are drawn with replacement, the same for all rows; seeds are redrawn from a normal
        distribution (`redraw`), and their variance is estimated again in each redrawing.
        """
        if len(self.counts) < 2:
            return 0.0
        error_RK, variance_RK = self._redrawn(seed)
        return largest(np.abs(error_RK), variance_RK)

    def better(self, higher_is_better: bool, seed: int = 0) -> Array:
        """In which share of redrawings each difference is to the better, ``[K]``; ties count half."""
        with np.errstate(invalid="ignore"):
            center_K = np.where(self.used, self.value_NK, 0).sum(0) / self.counts
        difference_RK = (1 if higher_is_better else -1) * (center_K + self._redrawn(seed)[0])
        tiny = 1e-12  # of sums of the same numbers in another order
        return (difference_RK > tiny).mean(0) + (np.abs(difference_RK) <= tiny).mean(0) / 2

    def _redrawn(self, seed: int) -> tuple[Array, Array]:
        """Errors and variances ``[R, K]`` of other samples and other seeds."""
        error_RK, variance_RK = self._resampled(seed)
        draw = np.random.default_rng(stable_seed("seeds", seed))
        for mean_SK in self.seeds:
            if len(mean_SK) > 1:
                again_RSK = redraw(mean_SK, len(error_RK), draw)
                error_RK = error_RK + again_RSK.mean(1)
                variance_RK = variance_RK + again_RSK.var(1, ddof=1) / len(mean_SK)
        return error_RK, variance_RK

    def _resampled(self, seed: int) -> tuple[Array, Array]:
        filled_NK = np.where(self.used, self.value_NK - self.centers, 0)
        total_K = self.counts + 2
        errors, variances = [], []
        for weight_RN in resamples(len(filled_NK), seed):
            mean_RK = weight_RN @ filled_NK / total_K
            square_RK = weight_RN @ filled_NK**2
            errors.append(mean_RK - filled_NK.sum(0) / total_K)
            variances.append(_variance(square_RK, mean_RK, self.counts, self.pseudo))
        return np.concatenate(errors), np.concatenate(variances)


def resamples(n: int, seed: int = 0, count: int = RESAMPLES) -> list[Array]:
    """How often each of n samples is drawn in each resample: parts of ``weight_RN``, every row sums to n."""
    draw = np.random.default_rng(stable_seed("bootstrap", seed, n))
    parts = [draw.multinomial(n, np.full(n, 1 / n), size=CHUNK) for _ in range(count // CHUNK)]
    return [part.astype(np.float64) for part in parts]


def _variance(square_K: Array, center_K: Array, n_K: Array, pseudo_K: Array) -> Array:
    """Of the mean of n values, whose squares sum up to `square_K`, and the two that are added."""
    total_K = n_K + 2
    return np.maximum((square_K + 2 * pseudo_K**2) / total_K - center_K**2, 0) / total_K


def seed_means(value_SNK: Array, used_NK: NDArray[np.bool_]) -> Array:
    with np.errstate(invalid="ignore"):
        return np.where(used_NK, value_SNK, 0).sum(1) / np.maximum(used_NK.sum(0), 1)


def redraw(mean_SK: Array, count: int, draw: np.random.Generator) -> Array:
    """As many seeds again, normal with the variances of these and mean 0, ``[R, S, K]``.

    S seeds vary in S - 1 directions only, as if all rows moved together; so that part of their covariance, one
    in S - 1, is replaced by rows that move by themselves.
    """
    S, K = mean_SK.shape
    own = 1 / (S - 1)
    mix_RSS = draw.normal(size=(count, S, S)) / np.sqrt(S - 1)
    together_RSK = mix_RSS @ (mean_SK - mean_SK.mean(0))
    alone_RSK = draw.normal(size=(count, S, K)) * mean_SK.std(0, ddof=1)
    return np.sqrt(1 - own) * together_RSK + np.sqrt(own) * alone_RSK


def largest(error_RK: Array, variance_RK: Array) -> float:
    """The level's quantile of the largest error, in standard errors; rows without any error do not count."""
    error_RK = np.divide(
        error_RK,
        np.sqrt(variance_RK),
        out=np.zeros_like(error_RK),
        where=np.broadcast_to(variance_RK > 0, error_RK.shape),
    )
    return float(np.quantile(error_RK.max(1), LEVEL))
