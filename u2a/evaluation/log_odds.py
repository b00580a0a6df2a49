"""Confidence corrected by a line in log-odds (Platt, 1999), after the temperature.

A temperature of least likelihood leaves confidence too low or too high where right and wrong answers differ in
more than scale, as they do with modalities missing. For one label a sample the line moves the largest
probability, and the others by one factor, so that the predicted class stays; for several it moves each
class's probability.

Shape suffixes: N samples, C classes, K cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

#: Slope and shift.
Line = tuple[float, float]
NEUTRAL: Line = (1.0, 0.0)
TINY = 1e-6


def fit_line(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], multi_label: bool, prior: float, around: Line = NEUTRAL
) -> Line:
    """The line of least negative log-likelihood.

    Args:
        parts: probabilities ``p_NC`` and targets, ``[N]`` class numbers or ``[N, C]`` of 0 and 1.
        prior: how much the squared distance of log slope and shift from those of `around` counts; 1 is as much
            as one sample's log-likelihood.
    """
    cases = [_cases(p_NC, target, multi_label) for p_NC, target in parts]
    center = np.array([math.log(around[0]), around[1]])

    def loss(z: np.ndarray) -> float:
        total = prior * float(((z - center) ** 2).sum())
        for odds_K, true_K, samples in cases:
            moved_K = math.exp(z[0]) * odds_K + z[1]
            total += float((np.logaddexp(0, moved_K) - true_K * moved_K).mean()) * samples
        return total

    found = minimize(loss, center, method="L-BFGS-B", bounds=[(-2, 2), (-4, 4)]).x
    return math.exp(found[0]), float(found[1])


def _cases(p_NC: np.ndarray, target: np.ndarray, multi_label: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Log-odds and outcome of each case, and the number of samples: a sample's classes share its weight."""
    if multi_label:
        p_K, true_K = p_NC.ravel(), target.ravel().astype(float)
    else:
        p_K, true_K = p_NC.max(1), (p_NC.argmax(1) == target).astype(float)
    return logit(np.clip(p_K, TINY, 1 - TINY)), true_K, len(target)


def corrected(p_NC: np.ndarray, line: Line, multi_label: bool) -> np.ndarray:
    """Probabilities moved by the line; the largest one of a sample with one label stays the largest."""
    slope, shift = line
    if line == NEUTRAL:
        return p_NC
    if multi_label:
        return expit(slope * logit(np.clip(p_NC, TINY, 1 - TINY)) + shift)
    ordered_NC = np.sort(p_NC, 1)
    top_N = np.clip(ordered_NC[:, -1], TINY, 1 - TINY)
    moved_N = expit(slope * logit(top_N) + shift)
    second_N = ordered_NC[:, -2]
    moved_N = np.maximum(moved_N, (1 + 1e-9) * second_N / (1 - top_N + second_N))
    moved_NC = p_NC * ((1 - moved_N) / (1 - top_N))[:, None]
    moved_NC[np.arange(len(p_NC)), p_NC.argmax(1)] = moved_N
    return moved_NC
