"""Probabilities that mean what they say when something is missing, and prediction sets with a guarantee.

Fitted on validation data for every availability pattern: a temperature (Guo et al., ICML 2017), then a line in
log-odds (`u2a.evaluation.log_odds`), for multi-label tasks a threshold a class, and what split conformal
prediction needs: one quantile a pattern (Mondrian groups; Vovk et al., 2005), or, for multi-label tasks, the
miss rate by threshold (conformal risk control; Angelopoulos et al., ICLR 2024). They are fitted by
`u2a.evaluation.calibration_fit`.

Shape suffixes: N samples, C classes, G grid of thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.special import expit, logit, softmax

from u2a.contract.extensions import THRESHOLD
from u2a.evaluation.log_odds import TINY, corrected

Kind = Literal["single_label", "multi_label"]
#: Thresholds a class is tried with, and those of sets of labels: finer below 0.05, where rare labels lie.
GRID = np.linspace(0.0, 1.0, 201)
CUTS = np.concatenate([[0.0], np.geomspace(1e-5, 0.05, 90), GRID[11:]])


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
        misses: mean share of a sample's labels that lie below each threshold of `CUTS`; multi-label.
        slope, shift: of the line that confidence is corrected by (see `u2a.evaluation.log_odds`).
    """

    n: int
    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    misses: tuple[float, ...] = ()
    slope: float = 1.0
    shift: float = 0.0


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
        one = self.of(pattern, n_modalities)
        p_NC = probabilities(logits_NC, one.temperature, self.kind)
        return corrected(p_NC, (one.slope, one.shift), self.kind == "multi_label")

    def thresholds(self, pattern: str, n_modalities: int, n_classes: int) -> np.ndarray:
        """From which calibrated probability on a class is predicted (multi-label), ``[C]``."""
        own = self.of(pattern, n_modalities).thresholds
        return np.asarray(own) if own else np.full(n_classes, THRESHOLD)

    def cut(self, pattern: str, n_modalities: int, coverage: float) -> tuple[float, str]:
        """From which calibrated probability on a class belongs to a prediction set, and the group that says so.

        Single-label: sets hold the true class with probability `coverage`. Multi-label: the expected share of a
        sample's labels that the set lacks is at most ``1 - coverage``. A group of too few samples cannot
        promise that: the next coarser one is taken; ``(0, "none")`` where none can: every class.
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
                one.get("slope", 1.0),
                one.get("shift", 0.0),
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
    cuts_G = GRID if len(bounds_G) == len(GRID) else CUTS  # older checkpoints have those of `GRID`
    return float(cuts_G[good[-1]]) if len(good) else None


def probabilities(logits_NC: np.ndarray, temperature: float, kind: Kind) -> np.ndarray:
    """Softmax, or a sigmoid a class, of tempered logits."""
    scaled = np.asarray(logits_NC, np.float64) / temperature
    return softmax(scaled, axis=1) if kind == "single_label" else expit(scaled)


def decide(p_NC: np.ndarray, thresholds_C: np.ndarray) -> np.ndarray:
    """Probabilities moved in log-odds so that each class's threshold lies at 0.5: any metric then uses it."""
    bounded = np.clip(p_NC, TINY, 1 - TINY)
    return expit(logit(bounded) - logit(np.clip(thresholds_C, TINY, 1 - TINY)))
