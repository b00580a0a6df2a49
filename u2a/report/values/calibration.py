"""Whether a model's confidence can be believed: proper scores, calibration error, reliability curve.

Shape suffixes: N samples, C classes, K cases (samples; multi-label: samples and classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from u2a.common.seeds import stable_seed
from u2a.evaluation.calibrated import BINS, binned, expected_calibration_error, outcomes, proper_scores
from u2a.report.values.intervals import Z, degrees_of_freedom, of_mean, satterthwaite, student
from u2a.report.values.predictions import Predictions

Array = NDArray[np.float64]
#: Data sets that a calibrated model's errors are drawn from.
SIMULATED = 200


def calibration(runs: Sequence[Predictions], seed: int = 0, simulated: int = SIMULATED) -> dict[str, Any]:
    """Means over runs, which differ in their seed alone, of proper scores and calibration errors; one curve.

    Args:
        runs: predictions of the same samples.
        simulated: data sets that a calibrated model's errors are drawn from.

    Returns:
        ``brier`` and ``nll``: ``value`` and ``interval``, which counts samples and seeds; ``ece`` in 0..1,
        ``ece_by_seed``; ``ece_calibrated``, the mean of a calibrated model of the same confidences, and
        ``ece_limit``, which the mean error of such runs is above in at most 5 % of data sets;
        ``bins`` of all runs' cases: for each that holds one, ``confidence``, ``outcome`` (means), ``count``.
    """
    found = [_of_run(run, seed, simulated) for run in runs]
    count_B, sure_B, came_B = np.sum([one.bins for one in found], 0)
    eces = [one.ece for one in found]
    return {
        "brier": _mean(np.stack([one.brier_N for one in found])),
        "nll": _mean(np.stack([one.nll_N for one in found])),
        "ece": float(np.mean(eces)),
        "ece_by_seed": eces,
        "ece_calibrated": float(np.mean([one.drawn for one in found])),
        "ece_limit": float(np.mean([np.quantile(one.drawn, 0.95) for one in found])),
        "bins": [
            {"confidence": float(c / n), "outcome": float(r / n), "count": int(n)}
            for n, c, r in zip(count_B, sure_B, came_B, strict=True)
            if n
        ],
    }


@dataclass(frozen=True)
class _Run:
    """Of one run: what each sample adds to the proper scores; the error, a calibrated model's; of each
    bin the cases, their confidence and their outcome."""

    brier_N: Array
    nll_N: Array
    ece: float
    drawn: Array
    bins: Array


def _of_run(predictions: Predictions, seed: int, simulated: int) -> _Run:
    """Proper scores, expected calibration error with what a calibrated model would show, and the curve.

    The error is above 0 for a calibrated model, too: each bin has few cases. So outcomes are drawn with the
    model's own confidences as their probabilities.
    """
    p_NC, truth_NC = predictions.probability_NC.double().numpy(), predictions.truth_NC.numpy()
    kind = predictions.task.kind
    target = truth_NC if kind == "multi_label" else truth_NC.argmax(1)
    sure_K, bin_K = binned(p_NC, kind)
    per_bin = np.ones(len(sure_K)), sure_K, outcomes(p_NC, target, kind)
    bins = np.stack([np.bincount(bin_K, values, BINS) for values in per_bin]).astype(np.float64)
    drawn = _calibrated(bin_K, sure_K, bins[1], seed, simulated)
    return _Run(*proper_scores(p_NC, target, kind), expected_calibration_error(p_NC, target, kind), drawn, bins)


def _calibrated(bin_K: NDArray[np.int64], sure_K: Array, sure_B: Array, seed: int, simulated: int) -> Array:
    """Calibration errors of data sets in which every case comes true as often as it is believed."""
    draw = np.random.default_rng(stable_seed("calibrated", seed))
    errors = []
    for _ in range(simulated):
        came_B = np.bincount(bin_K, draw.random(len(sure_K)) < sure_K, BINS)
        errors.append(np.abs(sure_B - came_B).sum() / len(sure_K))
    return np.array(errors)


def _mean(value_SN: Array) -> dict[str, Any]:
    """The mean over samples and runs, with Student's interval and the degrees of freedom of both."""
    value_N, (S, n) = value_SN.mean(0), value_SN.shape
    center = float(value_N.mean())
    if n < 2:
        return {"value": center, "interval": [np.nan, np.nan]}
    seeds = float(value_SN.mean(1).var(ddof=1) / S) if S > 1 else 0.0
    samples = float(value_N.var(ddof=1) / n)
    q = student(Z, satterthwaite(samples, degrees_of_freedom(value_N), seeds, S))
    return {"value": center, "interval": of_mean(center, samples + seeds, q)}
