"""Fitting a `Calibration` on validation data; small patterns and small classes shrink towards the common value.

Shape suffixes: N samples, C classes, G grid of thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit

from u2a.contract.extensions import THRESHOLD
from u2a.evaluation.calibration import (
    CUTS,
    GRID,
    Calibration,
    Kind,
    PatternCalibration,
    pattern_name,
    probabilities,
)
from u2a.evaluation.log_odds import Line, corrected, fit_line

#: Probabilities ``p_NC`` and targets of some samples.
Part = tuple[np.ndarray, np.ndarray]

#: A temperature moves from the common one as if this many samples had voted for the common one.
PRIOR_SAMPLES = 20
#: And the common one from 1, for each pattern: few samples that are all right would make everything certain.
PRIOR_COMMON = 1
#: A line moves from the coarser group's as if this many samples had voted for that.
PRIOR_LINE = 5
#: A class's threshold moves from the pattern's as if this many positives had voted for the pattern's.
PRIOR_POSITIVES = 10
#: Order statistics kept of a pattern's conformal scores.
MOST_SCORES = 500


def fit_calibration(
    names: Sequence[str], patterns: Mapping[tuple[bool, ...], tuple[np.ndarray, np.ndarray]], kind: Kind
) -> Calibration:
    """Fit every pattern's calibration.

    Args:
        names: the modalities, in recipe order.
        patterns: presence to ``(logits_NC, target)`` of the validation samples that can have it; targets are
            class numbers ``[N]``, or 0 and 1 ``[N, C]``.
    """
    # Samples without a single label would make every label improbable, whatever the model says.
    there = {
        p: data for p, data in patterns.items() if (data[1].any() if kind == "multi_label" else len(data[1]))
    }
    if not there:
        return Calibration(kind)
    common_T = _temperature(there.values(), kind, None)
    temperatures = {
        pattern_name(names, present): _temperature([data], kind, common_T) for present, data in there.items()
    }
    tempered = {
        present: (probabilities(logits_NC, temperatures[pattern_name(names, present)], kind), target)
        for present, (logits_NC, target) in there.items()
    }
    lines = _lines(names, tempered, kind)
    straight = {
        present: (corrected(p_NC, lines[pattern_name(names, present)], kind == "multi_label"), target)
        for present, (p_NC, target) in tempered.items()
    }
    groups = _groups(names, straight)
    common_t = _one_threshold(*_pool(groups["any"])) if kind == "multi_label" else THRESHOLD
    return Calibration(
        kind,
        {
            group: _fitted(parts, kind, temperatures.get(group, common_T), lines[group], common_t)
            for group, parts in groups.items()
        },
    )


def _groups(names: Sequence[str], there: Mapping[tuple[bool, ...], Part]) -> dict[str, list[Part]]:
    """Every pattern by itself, with those of as many modalities, and all of them."""
    groups: dict[str, list[Part]] = {}
    for present, part in there.items():
        for group in (pattern_name(names, present), f"{sum(present)} of {len(names)}", "any"):
            groups.setdefault(group, []).append(part)
    return groups


def _lines(names: Sequence[str], there: Mapping[tuple[bool, ...], Part], kind: Kind) -> dict[str, Line]:
    """The line of each group, drawn towards that of the coarser one."""
    groups, multi_label = _groups(names, there), kind == "multi_label"
    lines = {"any": fit_line(groups["any"], multi_label, PRIOR_LINE * len(groups["any"]))}
    for present in there:
        size = f"{sum(present)} of {len(names)}"
        if size not in lines:
            prior = PRIOR_LINE * len(groups[size])
            lines[size] = fit_line(groups[size], multi_label, prior, lines["any"])
        name = pattern_name(names, present)
        lines[name] = fit_line(groups[name], multi_label, PRIOR_LINE, lines[size])
    return lines


def _fitted(
    parts: Sequence[Part], kind: Kind, temperature: float, line: Line, common_t: float
) -> PatternCalibration:
    """What is kept of a group of patterns, given their corrected probabilities."""
    p_NC, target = _pool(parts)
    # A group of several patterns holds each sample several times: they count once towards what it can promise.
    n = len(target) // len(parts)
    scores: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    misses: tuple[float, ...] = ()
    if kind == "single_label":
        scores = _thinned(1 - p_NC[np.arange(len(target)), target])
    else:
        thresholds, misses = _thresholds(p_NC, target, common_t), _misses(p_NC, target)
    return PatternCalibration(n, temperature, thresholds, scores, misses, *line)


def _pool(parts: Sequence[Part]) -> Part:
    return np.concatenate([p for p, _ in parts]), np.concatenate([target for _, target in parts])


def _temperature(data: Iterable[tuple[np.ndarray, np.ndarray]], kind: Kind, common: float | None) -> float:
    """The temperature of least negative log-likelihood, held near the common one by `PRIOR_SAMPLES`.

    Without a common one it is held near 1 by `PRIOR_COMMON`.
    """
    data = list(data)
    center, prior = (0.0, PRIOR_COMMON * len(data)) if common is None else (math.log(common), PRIOR_SAMPLES)

    def loss(log_T: float) -> float:
        total = sum(negative_log_likelihood(logits / math.exp(log_T), y, kind) * len(y) for logits, y in data)
        return total + prior * (log_T - center) ** 2

    return math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-4}).x)


def tempered_losses(logits_NC: np.ndarray, target: np.ndarray, kind: Kind) -> np.ndarray:
    """Each sample's loss (N) at the temperature that makes their mean least: what calibration cannot mend.

    With what that temperature costs (`PRIOR_COMMON`): few samples that are all right have no loss at its bound.
    """
    temperature = _temperature([(logits_NC, target)], kind, None)
    cost = PRIOR_COMMON * math.log(temperature) ** 2 / len(target)
    return _losses(logits_NC / temperature, target, kind) + cost


def negative_log_likelihood(logits_NC: np.ndarray, target: np.ndarray, kind: Kind) -> float:
    """Mean over the samples; for multi-label tasks the mean over the classes of each."""
    return float(_losses(logits_NC, target, kind).mean())


def _losses(logits_NC: np.ndarray, target: np.ndarray, kind: Kind) -> np.ndarray:
    logits_NC = np.asarray(logits_NC, np.float64)
    if kind == "single_label":
        return -log_softmax(logits_NC, axis=1)[np.arange(len(target)), target]
    return (np.logaddexp(0, logits_NC) - target * logits_NC).mean(1)


def _thinned(scores_N: np.ndarray) -> tuple[float, ...]:
    ordered = np.sort(scores_N)
    if len(ordered) > MOST_SCORES:
        ordered = ordered[np.ceil(np.arange(1, MOST_SCORES + 1) * len(ordered) / MOST_SCORES).astype(int) - 1]
    # Up: a score of 0 would leave out every class that is not certain to the last digit.
    return tuple((np.ceil(ordered * 1e6) / 1e6).tolist())


def _misses(p_NC: np.ndarray, target_NC: np.ndarray) -> tuple[float, ...]:
    sample_K, class_K = np.nonzero(target_NC)  # a sample without labels misses none
    p_K, part_K = p_NC[sample_K, class_K], 1 / target_NC.sum(1)[sample_K]
    order = np.argsort(p_K)
    lost = np.concatenate([[0.0], np.cumsum(part_K[order], dtype=np.float64)])
    return tuple(np.round(lost[np.searchsorted(p_K[order], CUTS)] / len(p_NC), 6).tolist())


def _f1(p_N: np.ndarray, target_N: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """F1 of one class at each threshold; 0 where nothing is right."""
    order = np.argsort(-p_N, kind="stable")
    hits = np.concatenate([[0], np.cumsum(target_N[order])])
    guessed = np.searchsorted(-p_N[order], -thresholds, side="right")
    return 2 * hits[guessed] / np.maximum(guessed + target_N.sum(), 1)


def _one_threshold(p_NC: np.ndarray, target_NC: np.ndarray) -> float:
    """The one threshold for all classes with the best macro F1."""
    grid = GRID[1:-1]
    f1_CG = np.stack([_f1(p_NC[:, c], target_NC[:, c], grid) for c in range(p_NC.shape[1])])
    return float(grid[f1_CG.mean(0).argmax()])


def _thresholds(p_NC: np.ndarray, target_NC: np.ndarray, common: float) -> tuple[float, ...]:
    """Each class's threshold of best F1, drawn towards the group's, and that towards the common one."""
    n = len(target_NC)
    own = _one_threshold(p_NC, target_NC)
    group = expit((n * logit(own) + PRIOR_SAMPLES * logit(common)) / (n + PRIOR_SAMPLES))
    grid = GRID[1:-1]
    found = []
    for c in range(p_NC.shape[1]):
        positives = target_NC[:, c].sum()
        f1_G = _f1(p_NC[:, c], target_NC[:, c], grid)
        best = np.flatnonzero(f1_G >= f1_G.max() - 1e-12)
        t = grid[best[len(best) // 2]] if positives else group
        found.append(
            float(
                expit((positives * logit(t) + PRIOR_POSITIVES * logit(group)) / (positives + PRIOR_POSITIVES))
            )
        )
    return tuple(round(t, 6) for t in found)
