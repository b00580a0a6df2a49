"""Probabilities that mean what they say when something is missing, and prediction sets with a guarantee.

Fitted on validation data for every availability pattern: a temperature (Guo et al., ICML 2017), for
multi-label tasks
a threshold a class, and what split conformal prediction needs: one quantile a pattern (Mondrian groups; Vovk
et al., 2005), or, for multi-label tasks, the miss rate by threshold (conformal risk control; Angelopoulos et
al., ICLR 2024). Small patterns and small classes shrink towards the common value.

Shape suffixes: N samples, C classes, G grid of thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax

Kind = Literal["single_label", "multi_label"]

#: A temperature moves from the common one as if this many samples had voted for the common one.
PRIOR_SAMPLES = 20
#: A class's threshold moves from the pattern's as if this many positives had voted for the pattern's.
PRIOR_POSITIVES = 10
#: Order statistics kept of a pattern's conformal scores.
MOST_SCORES = 500
GRID = np.linspace(0.0, 1.0, 201)
TINY = 1e-6


def pattern_name(names: Iterable[str], present: Iterable[bool]) -> str:
    """``image+text``: the present modalities in recipe order."""
    return "+".join(name for name, there in zip(names, present, strict=True) if there)


@dataclass(frozen=True)
class PatternCalibration:
    """What was fitted for one availability pattern, or for a group of them.

    Attributes:
        n: validation samples that it was fitted on.
        temperature: logits are divided by it.
        thresholds: one a class, on the calibrated probabilities; multi-label only.
        scores: ascending conformal scores (1 - probability of the true class), evenly thinned; single-label.
        misses: mean share of a sample's labels that lie below each threshold of `GRID`; multi-label.
    """

    n: int
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    misses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """Every pattern's calibration, with the coarser groups it falls back to.

    Attributes:
        kind: the task's kind.
        patterns: by `pattern_name`, by number of modalities (``"2 of 3"``), and ``"any"`` for all of them.
    """

    kind: Kind
    patterns: Mapping[str, PatternCalibration] = field(default_factory=dict)

    def groups(self, pattern: str, n_modalities: int) -> list[str]:
        """The pattern, then coarser groups that hold it."""
        size = f"{pattern.count('+') + 1} of {n_modalities}"
        return [group for group in (pattern, size, "any") if group in self.patterns]

    def of(self, pattern: str, n_modalities: int) -> PatternCalibration:
        """The finest calibration that there is for a pattern; a neutral one if there is none at all."""
        found = self.groups(pattern, n_modalities)
        return self.patterns[found[0]] if found else PatternCalibration(0)

    def probabilities(self, logits_NC: np.ndarray, pattern: str, n_modalities: int) -> np.ndarray:
        """Calibrated class probabilities, float64."""
        return probabilities(logits_NC, self.of(pattern, n_modalities).temperature, self.kind)

    def thresholds(self, pattern: str, n_modalities: int, n_classes: int) -> np.ndarray:
        """From which calibrated probability on a class is predicted (multi-label), ``[C]``."""
        own = self.of(pattern, n_modalities).thresholds
        return np.asarray(own) if own else np.full(n_classes, 0.5)

    def cut(self, pattern: str, n_modalities: int, coverage: float) -> tuple[float, str]:
        """From which calibrated probability on a class belongs to a prediction set, and the group that says so.

        Single-label: sets hold the true class with probability `coverage`. Multi-label: the expected share of a
        sample's labels that the set lacks is at most ``1 - coverage``. A group of too few samples cannot
        promise
        that: the next coarser one is taken; ``(0, "none")`` where none can: every class.
        """
        for group in self.groups(pattern, n_modalities):
            one = self.patterns[group]
            cut = _score_cut(one, coverage) if self.kind == "single_label" else _risk_cut(one, coverage)
            if cut is not None:
                return cut, group
        return 0.0, "none"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.kind, "patterns": {name: vars(one) for name, one in self.patterns.items()}}

    @staticmethod
    def from_dict(stored: Mapping[str, Any] | None) -> Calibration | None:
        """What `as_dict` gave, or None."""
        if not stored:
            return None
        patterns = {
            name: PatternCalibration(
                one["n"],
                one["temperature"],
                tuple(one["thresholds"]),
                tuple(one["scores"]),
                tuple(one["misses"]),
            )
            for name, one in stored["patterns"].items()
        }
        return Calibration(stored["kind"], patterns)


def _score_cut(one: PatternCalibration, coverage: float) -> float | None:
    rank = math.ceil((one.n + 1) * coverage - 1e-9)
    if not one.scores or rank > one.n:
        return None
    place = math.ceil(rank * len(one.scores) / one.n) - 1  # thinned: never a smaller order statistic than asked
    return 1 - one.scores[min(max(place, 0), len(one.scores) - 1)]


def _risk_cut(one: PatternCalibration, coverage: float) -> float | None:
    if not one.misses:
        return None
    bounds_G = (one.n * np.asarray(one.misses) + 1) / (one.n + 1)
    good = np.flatnonzero(bounds_G <= 1 - coverage + 1e-12)  # misses grow with the threshold
    return float(GRID[good[-1]]) if len(good) else None


def probabilities(logits_NC: np.ndarray, temperature: float, kind: Kind) -> np.ndarray:
    """Softmax, or a sigmoid a class, of tempered logits."""
    scaled = np.asarray(logits_NC, np.float64) / temperature
    return softmax(scaled, axis=1) if kind == "single_label" else expit(scaled)


def fit_calibration(
    names: Sequence[str], patterns: Mapping[tuple[bool, ...], tuple[np.ndarray, np.ndarray]], kind: Kind
) -> Calibration:
    """Fit every pattern's calibration.

    Args:
        names: the modalities, in recipe order.
        patterns: presence to ``(logits_NC, target)`` of the validation samples that can have it; targets are
        class
            numbers ``[N]``, or 0 and 1 ``[N, C]``.
    """
    there = {present: data for present, data in patterns.items() if len(data[1])}
    if not there:
        return Calibration(kind)
    common_T = _temperature(there.values(), kind, None)
    groups: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    tempered: dict[str, float] = {}
    for present, (logits_NC, target) in there.items():
        name = pattern_name(names, present)
        tempered[name] = _temperature([(logits_NC, target)], kind, common_T)
        one = probabilities(logits_NC, tempered[name], kind), target
        for group in (name, f"{sum(present)} of {len(names)}", "any"):
            groups.setdefault(group, []).append(one)
    found: dict[str, PatternCalibration] = {}
    pooled = _pool(groups["any"])
    common_t = _one_threshold(*pooled) if kind == "multi_label" else 0.5
    for group, parts in groups.items():
        p_NC, target = _pool(parts)
        # A group of several patterns holds each sample several times: they count once towards what it can
        # promise.
        n = len(target) // len(parts)
        temperature = tempered.get(group, common_T)
        if kind == "single_label":
            found[group] = PatternCalibration(
                n, temperature, scores=_thinned(1 - p_NC[np.arange(len(target)), target])
            )
        else:
            found[group] = PatternCalibration(
                n, temperature, _thresholds(p_NC, target, common_t), misses=_misses(p_NC, target)
            )
    return Calibration(kind, found)


def _pool(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([p for p, _ in parts]), np.concatenate([target for _, target in parts])


def _temperature(data: Iterable[tuple[np.ndarray, np.ndarray]], kind: Kind, common: float | None) -> float:
    """The temperature of least negative log-likelihood, held near the common one by `PRIOR_SAMPLES`."""
    data = list(data)

    def loss(log_T: float) -> float:
        total = sum(negative_log_likelihood(logits / math.exp(log_T), y, kind) * len(y) for logits, y in data)
        return total + (0 if common is None else PRIOR_SAMPLES * (log_T - math.log(common)) ** 2)

    return math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-4}).x)


def negative_log_likelihood(logits_NC: np.ndarray, target: np.ndarray, kind: Kind) -> float:
    """Mean over the samples; for multi-label tasks the mean over the classes of each."""
    logits_NC = np.asarray(logits_NC, np.float64)
    if kind == "single_label":
        return float(-log_softmax(logits_NC, axis=1)[np.arange(len(target)), target].mean())
    return float((np.logaddexp(0, logits_NC) - target * logits_NC).mean())


def _thinned(scores_N: np.ndarray) -> tuple[float, ...]:
    ordered = np.sort(scores_N)
    if len(ordered) > MOST_SCORES:
        ordered = ordered[np.ceil(np.arange(1, MOST_SCORES + 1) * len(ordered) / MOST_SCORES).astype(int) - 1]
    return tuple(np.round(ordered, 6).tolist())


def _misses(p_NC: np.ndarray, target_NC: np.ndarray) -> tuple[float, ...]:
    has_N = target_NC.sum(1) > 0
    share_GN = [((p_NC < t) & (target_NC > 0)).sum(1)[has_N] / target_NC.sum(1)[has_N] for t in GRID]
    mean_G = [float(share.sum()) / len(p_NC) for share in share_GN]  # a sample without labels misses none
    return tuple(np.round(mean_G, 6).tolist())


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


def decide(p_NC: np.ndarray, thresholds_C: np.ndarray) -> np.ndarray:
    """Probabilities moved in log-odds so that each class's threshold lies at 0.5: any metric then uses it."""
    bounded = np.clip(p_NC, TINY, 1 - TINY)
    return expit(logit(bounded) - logit(np.clip(thresholds_C, TINY, 1 - TINY)))


def calibrate(
    calibration: Calibration, logits_NC: np.ndarray, present_NM: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Each sample by its own pattern: calibrated probabilities, and those moved by the thresholds (`decide`).

    Returns:
        ``p_NC`` and ``decided_NC``, float64; equal for single-label tasks.
    """
    p_NC = np.zeros(logits_NC.shape)
    decided_NC = np.zeros(logits_NC.shape)
    M, C = len(names), logits_NC.shape[1]
    for present in np.unique(present_NM, axis=0):
        rows_N = (present_NM == present).all(1)
        pattern = pattern_name(names, present)
        p_NC[rows_N] = calibration.probabilities(logits_NC[rows_N], pattern, M)
        decided_NC[rows_N] = p_NC[rows_N]
        if calibration.kind == "multi_label":
            decided_NC[rows_N] = decide(p_NC[rows_N], calibration.thresholds(pattern, M, C))
    return p_NC, decided_NC
