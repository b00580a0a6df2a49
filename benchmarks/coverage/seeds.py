"""Contributions, classes and proper scores as means over three seeds."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.coverage.truths import Array, Draw, Rows, hits, percent, predicted
from u2a.report.values.calibration import calibration
from u2a.report.values.class_intervals import class_intervals
from u2a.report.values.contributions import Coalition, contributions, of_run
from u2a.report.values.predictions import Predictions

SEEDS = 3


def over_seeds(draw: Draw, reps: int) -> Rows:
    """Contributions, classes and proper scores as means over three seeds, which differ by pattern."""
    for n in (200, 480):
        covered = []
        for _ in range(reps):
            steps = draw.normal(size=(SEEDS, 1)) * 0.017 + draw.normal(size=(SEEDS, 4)) * 0.02
            runs = [of_run(partial(coalition, hit_NK), 2) for hit_NK in hits(draw, n, 4, steps=steps)]
            rows = contributions(runs, ("a", "b"), ("only",))["values"].values()
            covered += [a <= 0 <= b for a, b in (row["interval"] for row in rows)]
        yield "contribution", "of one of two modalities", f"{n}, {SEEDS} seeds", percent(covered), "covers"
    yield from classes_over_seeds(draw, reps)
    yield from proper_over_seeds(draw, reps)


def coalition(hit_NK: Array, S: int) -> Coalition:
    score = np.asarray(hit_NK[:, S].mean())
    return Coalition(score, score[None], hit_NK[:, S], share=True)


def classes_over_seeds(draw: Draw, reps: int) -> Rows:
    n, alarms = 480, []
    truth_NC = np.eye(12)[np.arange(n) % 12]
    everyone = torch.ones(n, dtype=torch.bool)
    for r in range(reps):
        steps = draw.normal(size=(SEEDS, 1)) * 0.017 + draw.normal(size=(SEEDS, 5)) * 0.02
        completes, withouts = [], []
        for hit_NK in hits(draw, n, 5, steps=steps):
            guesses = [np.where(hit_NK[:, k : k + 1] > 0, truth_NC, np.roll(truth_NC, 1, 1)) for k in range(5)]
            models = [predicted("single", "accuracy", 4 * guess_NC, truth_NC) for guess_NC in guesses]
            completes.append(models[0])
            withouts.append({f"m{k}": (models[k], everyone) for k in range(1, 5)})
        found = class_intervals(completes, withouts, seed=r)
        alarms.append(any(high < 0 for rows in found.values() for _, high in rows))
    yield (
        "false alarm",
        "some class of 12 x 4 is coloured",
        f"{n}, {SEEDS} seeds",
        percent(alarms),
        "at least one row",
    )


def proper_over_seeds(draw: Draw, reps: int) -> Rows:
    """Seeds that differ in how sure they are by a fifth."""

    def runs(n: int, count: int) -> list[Predictions]:
        logit_NC = draw.normal(size=(n, 6)) * 1.5
        p_NC = np.exp(logit_NC) / np.exp(logit_NC).sum(1, keepdims=True)
        truth_NC = np.eye(6)[(p_NC.cumsum(1) > draw.random((n, 1))).argmax(1)]
        sure_S = np.exp(0.2 * draw.normal(size=count))
        return [predicted("single", "accuracy", sure * logit_NC, truth_NC) for sure in sure_S]

    many = [calibration(runs(5_000, 1), simulated=1) for _ in range(300)]
    for n in (200, 480):
        covered: dict[str, list[bool]] = {"brier": [], "nll": []}
        for r in range(reps):
            found = calibration(runs(n, SEEDS), seed=r, simulated=1)
            for part, told in covered.items():
                low, high = found[part]["interval"]
                told.append(low <= np.mean([one[part]["value"] for one in many]) <= high)
        for part, told in covered.items():
            name = {"brier": "Brier", "nll": "NLL"}[part]
            yield "proper score", name, f"{n}, {SEEDS} seeds", percent(told), "covers"
