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
from u2a.evaluation.scoring import classify
from u2a.method.model import U2A
from u2a.recipe.sections import TaskSection

BINS = 15
#: The coverage that evaluations show.
COVERAGE = 0.9


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
        ``n``, ``temperature``, ``ece`` and ``ece_calibrated``; ``coverage``, ``set_size`` and ``set_from`` of
        prediction sets that promise `coverage`; for multi-label tasks each F1 at 0.5, and ``<name>_fitted``
        at the fitted thresholds.
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
        "temperature": calibration.of(name, M).temperature,
        "ece": expected_calibration_error(raw_NC, target, task.kind),
        "ece_calibrated": expected_calibration_error(p_NC, target, task.kind),
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
    for metric in (m for m in metric_names(task) if m.startswith("f1")):
        found[metric] = compute_metric(metric, torch.from_numpy(raw_NC).float(), torch.from_numpy(target))
        fitted = compute_metric(metric, torch.from_numpy(decided_NC).float(), torch.from_numpy(target))
        found[f"{metric}_fitted"] = fitted
    return found


def reached_coverage(chosen_NC: np.ndarray, target: np.ndarray) -> float:
    """Share of the samples whose set holds the true class; multi-label: mean share of a sample's labels in
    it."""
    if target.ndim == 1:
        return float(chosen_NC[np.arange(len(target)), target].mean())
    held_N = (chosen_NC & (target > 0)).sum(1) / np.maximum(target.sum(1), 1)
    return float(np.where(target.sum(1) > 0, held_N, 1).mean())


def expected_calibration_error(p_NC: np.ndarray, target: np.ndarray, kind: Kind) -> float:
    """Mean distance of confidence and outcome over `BINS` equal bins, weighted by their cases.

    Single-label: confidence is the largest probability; multi-label: every sample and class is a case.
    """
    if kind == "single_label":
        confidence_K, right_K = p_NC.max(1), (p_NC.argmax(1) == target).astype(float)
    else:
        confidence_K, right_K = p_NC.ravel(), target.ravel().astype(float)
    bin_K = np.clip(np.ceil(confidence_K * BINS).astype(int) - 1, 0, BINS - 1)
    sums = [np.bincount(bin_K, weights=w, minlength=BINS) for w in (confidence_K, right_K)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(confidence_K))
