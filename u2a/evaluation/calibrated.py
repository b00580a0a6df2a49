"""What calibration changes, pattern by pattern: errors of confidence, F1 at fitted thresholds, prediction sets.

Shape suffixes: N samples, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from u2a.evaluation.calibration import Calibration, Kind, decide, pattern_name
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.metrics import compute_metric, metric_names
from u2a.evaluation.rising import rising_confidence
from u2a.evaluation.scoring import classify
from u2a.method.model import U2A
from u2a.recipe.task import TaskSection

BINS = 15
#: The coverage that evaluations show.
COVERAGE = 0.9
#: Where a probability of 0 is taken for more, so that its logarithm is a number.
LEAST = float(np.finfo(np.float32).tiny)


def calibration_of(
    model: U2A,
    encoded: Encoded,
    task: TaskSection,
    calibration: Calibration,
    pattern: tuple[bool, ...],
    coverage: float = COVERAGE,
) -> dict[str, Any]:
    """What calibration makes of one availability pattern, over the samples that can have it; empty if none can.

    Returns:
        ``n``, ``temperature``, ``slope``, ``shift``; ``ece``, ``ece_chance``, ``brier``, ``nll`` and ``rises``
        (see `u2a.evaluation.rising.rising_confidence`), each also as ``<name>_calibrated``; ``coverage``,
        ``set_size`` and ``set_from`` of prediction sets that promise `coverage`; for multi-label tasks each F1
        at 0.5, and ``<name>_fitted`` at the fitted thresholds.
    """
    has_all_N = (encoded.present_NM | ~torch.tensor(pattern)).all(1)
    if not calibration.patterns or not has_all_N.any():
        return {}
    logits_NC = classify(model, encoded, encoded.present_NM & torch.tensor(pattern))[has_all_N].numpy()
    target = encoded.target[has_all_N].numpy()
    name, M = pattern_name(model.names, pattern), len(model.names)
    raw_NC = Calibration(task.kind).probabilities(logits_NC, name, M)
    p_NC = calibration.probabilities(logits_NC, name, M)
    cut, group = calibration.cut(name, M, coverage)
    found = {
        "n": len(target),
        **{key: getattr(calibration.of(name, M), key) for key in ("temperature", "slope", "shift")},
        **errors_of_confidence(raw_NC, target, task.kind),
        **{f"{k}_calibrated": v for k, v in errors_of_confidence(p_NC, target, task.kind).items()},
        "rises": rising_confidence(model, encoded, Calibration(task.kind), pattern),
        "rises_calibrated": rising_confidence(model, encoded, calibration, pattern),
        "coverage": reached_coverage(p_NC >= cut, target),
        "set_size": float((p_NC >= cut).sum(1).mean()),
        "set_from": group,
    }
    if task.kind == "multi_label":
        found |= _fitted(name, M, raw_NC, p_NC, target, task, calibration)
    return found


def _fitted(
    name: str,
    M: int,
    raw_NC: np.ndarray,
    p_NC: np.ndarray,
    target: np.ndarray,
    task: TaskSection,
    calibration: Calibration,
) -> dict[str, float]:
    decided_NC = decide(p_NC, calibration.thresholds(name, M, p_NC.shape[1]))
    found = {}
    for metric in (m for m in metric_names(task) if task.spec(m).of_decisions):
        found[metric] = compute_metric(metric, torch.from_numpy(raw_NC).float(), torch.from_numpy(target), task)
        fitted = compute_metric(metric, torch.from_numpy(decided_NC).float(), torch.from_numpy(target), task)
        found[f"{metric}_fitted"] = fitted
    return found


def reached_coverage(chosen_NC: np.ndarray, target: np.ndarray) -> float:
    """Share of the samples whose set holds the true class; multi-label: mean share of a sample's labels."""
    if target.ndim == 1:
        return float(chosen_NC[np.arange(len(target)), target].mean())
    held_N = (chosen_NC & (target > 0)).sum(1) / np.maximum(target.sum(1), 1)
    return float(np.where(target.sum(1) > 0, held_N, 1).mean())


def errors_of_confidence(p_NC: np.ndarray, target: np.ndarray, kind: Kind) -> dict[str, float]:
    """Expected calibration error, what of it is chance, and means of `proper_scores`: lower is better."""
    brier_N, nll_N = proper_scores(p_NC, target, kind)
    error = expected_calibration_error(p_NC, target, kind)
    chance = error_by_chance(p_NC, kind)
    return {"ece": error, "ece_chance": chance, "brier": float(brier_N.mean()), "nll": float(nll_N.mean())}


def proper_scores(p_NC: np.ndarray, target: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Brier score and negative log-likelihood of each sample, ``[N]`` each.

    Brier: the squared distance from the truth, summed over the classes (multi-label: their mean); NLL: of the
    true class (multi-label: the mean over the classes).
    """
    if kind == "single_label":
        brier_N = ((p_NC - np.eye(p_NC.shape[1])[target]) ** 2).sum(1)
        return brier_N, -np.log(np.maximum(p_NC[np.arange(len(target)), target], LEAST))
    brier_N = ((p_NC - target) ** 2).mean(1)
    return brier_N, -np.log(np.maximum(np.where(target > 0, p_NC, 1 - p_NC), LEAST)).mean(1)


def expected_calibration_error(p_NC: np.ndarray, target: np.ndarray, kind: Kind) -> float:
    """Mean distance of confidence and outcome over `BINS` equal bins, weighted by their cases."""
    confidence_K, bin_K = binned(p_NC, kind)
    gap_B = np.bincount(bin_K, weights=confidence_K - outcomes(p_NC, target, kind), minlength=BINS)
    return float(np.abs(gap_B).sum() / len(confidence_K))


def error_by_chance(p_NC: np.ndarray, kind: Kind) -> float:
    """The calibration error that probabilities which are exactly right have on so many cases, on average.

    A bin's gap is then a sum of independent outcomes less their means; of a normal one with variance v the
    mean length is ``sqrt(2 v / pi)``. For several labels cases of a sample are taken for independent.
    """
    confidence_K, bin_K = binned(p_NC, kind)
    variance_B = np.bincount(bin_K, weights=confidence_K * (1 - confidence_K), minlength=BINS)
    return float(np.sqrt(2 / np.pi * np.maximum(variance_B, 0)).sum() / len(confidence_K))


def binned(p_NC: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Each case's confidence, and its bin: (0, 1/15], (1/15, 2/15], ...

    Single-label: confidence is the largest probability; multi-label: every sample and class is a case.
    """
    confidence_K = p_NC.max(1) if kind == "single_label" else p_NC.ravel()
    return confidence_K, np.clip(np.ceil(confidence_K * BINS).astype(int) - 1, 0, BINS - 1)


def outcomes(p_NC: np.ndarray, target: np.ndarray, kind: Kind) -> np.ndarray:
    """Whether each of the cases of `binned` came true, ``[K]``."""
    return (p_NC.argmax(1) == target) if kind == "single_label" else target.ravel()
