"""Which interval a figure gets: the one place that decides. Methods, and how often they cover: docs/report.md.

All take the number of standard errors `z`: `Z` for one figure alone, more where a row is one of many
(`u2a.report.values.sources`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
LEVEL = 0.95
#: Standard errors on either side of one figure.
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
#: Heavy tails make a variance uncertain; fewer degrees of freedom than these are not believed.
FEWEST = 12
NOTHING = [np.nan, np.nan]


def of_share(share: float, n: int, z: float = Z) -> list[float]:
    """Wilson's score interval of a share of n samples."""
    if np.isnan(share) or not n:
        return NOTHING
    level = min(float(stats.norm.cdf(z) - stats.norm.cdf(-z)), 1 - 1e-12)
    found = stats.binomtest(round(share * n), n).proportion_ci(level, method="wilson")
    return [float(found.low), float(found.high)]


def of_score(
    center: float,
    variance: float,
    df: float,
    most: float,
    z: float = Z,
    *,
    mixed: bool = False,
    few: bool = False,
) -> list[float]:
    """Wilson's interval of a score in 0..1 that is no plain share: with the effective number of samples.

    That is the number of samples at which a share of this size would have this variance (the design effect of
    survey statistics), at most `most`; z becomes a quantile of Student's t.

    Args:
        center: the score less its bias; variance: of it; df: degrees of freedom of the variance.
        mixed: the score mixes several patterns of each sample, which tell more than one does: no limit, unless
            there is no variance at all.
        few: the variance counts what classes of few samples do not show. Next to 0 or 1 no share has so much:
            the score stands for at least half of the samples at which the interval of 0 or 1 is as long as q
            standard errors.
    """
    if np.isnan(center):
        return NOTHING
    center, spread = float(np.clip(center, 0, 1)), float(np.clip(center, 0, 1) * (1 - np.clip(center, 0, 1)))
    n, q2 = most, student(z, df) ** 2
    if variance > 0 and (spread > 0 or few):
        least = (np.sqrt(q2 / variance) - q2) / 2 if few else 0.0
        n = max(spread / variance, least, 1.0 if few else 0.0)
        n = n if mixed and spread > 0 else min(n, most)
    middle = (center + q2 / (2 * n)) / (1 + q2 / n)
    half = np.sqrt(q2) / (1 + q2 / n) * np.sqrt(spread / n + q2 / (4 * n * n))
    return [max(0.0, float(middle - half)), min(1.0, float(middle + half))]


def of_mean(center: float, variance: float, q: float) -> list[float]:
    """A mean or a difference, q standard errors to either side."""
    if np.isnan(center):
        return NOTHING
    half = q * np.sqrt(variance)
    return [float(center - half), float(center + half)]


def student(z: float, df: float) -> float:
    """The quantile of Student's t that holds as much as z standard errors of a normal distribution."""
    return z if not np.isfinite(df) else float(stats.t.isf(stats.norm.sf(z), df))


def degrees_of_freedom(value_N: Array) -> float:
    """Of the variance of these values: ``2 n / (kurtosis - 1)``, what a normal sample of n gives about n."""
    if (n := len(value_N)) < 2 or not (variance := value_N.var()) > 0:
        return np.inf
    center = value_N - value_N.mean()
    excess = (center**4).mean() / variance**2 - 1
    return float(np.clip(2 * n / max(excess, 1e-9), min(FEWEST, n - 1), max(n - 1, 1)))


def satterthwaite(sample_variance: float, sample_df: float, seed_variance: float, n_seeds: int) -> float:
    """Degrees of freedom of the sum of both variances."""
    parts = sample_variance**2 / sample_df + (seed_variance**2 / (n_seeds - 1) if n_seeds > 1 else 0)
    return (sample_variance + seed_variance) ** 2 / parts if parts > 0 else np.inf


def outside(interval: Sequence[float], value: float = 0.0) -> bool:
    """Whether the interval excludes the value; an undefined one excludes nothing."""
    low, high = interval
    return bool(low > value or high < value)
