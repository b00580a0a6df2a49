"""Bootstrap over samples: seeded resamples as weights, so that every scenario is scored on the same ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from u2a.common.seeds import stable_seed
from u2a.report.values.predictions import Predictions

RESAMPLES = 1000
LEVEL = 0.95


def resamples(n: int, seed: int = 0, count: int = RESAMPLES) -> Tensor:
    """How often each of n samples is drawn in each resample: ``weights_RN`` uint8, every row sums to n."""
    draw = np.random.default_rng(stable_seed("bootstrap", seed, n))
    rows = [np.bincount(draw.integers(n, size=n), minlength=n).astype(np.uint8) for _ in range(count)]
    return torch.from_numpy(np.stack(rows))


def scores_at(predictions: Predictions, usable_N: Tensor, weights_RN: Tensor) -> Tensor:
    """The headline score of the usable samples in every resample, ``[R]`` float64."""
    if bool(usable_N.all()):
        return predictions.scores(weights_RN)
    return predictions.at(usable_N).scores(weights_RN[:, usable_N])


def interval(values_R: Tensor | np.ndarray, level: float = LEVEL) -> list[float]:
    """The middle share `level` of the values, ``[low, high]`` (percentile bootstrap); NaNs do not count.

    NaN where all of them are.
    """
    tail, values_R = (1 - level) / 2, np.asarray(values_R, np.float64)
    if np.isnan(values_R).all():
        return [np.nan, np.nan]
    low, high = np.nanquantile(values_R, [tail, 1 - tail])
    return [float(low), float(high)]
