"""Many rows at once where nothing is lost: patterns, classes, recipes; and calibration errors."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.coverage.truths import PER_STEP, Draw, Rows, hits, patterns_of, percent, predicted, share
from u2a.report.values.calibration import calibration
from u2a.report.values.class_intervals import class_intervals
from u2a.report.values.comparison import compare_recipes
from u2a.report.values.expected import expected, model_of_use
from u2a.report.values.patterns import pattern_rows


def pattern_figures(draw: Draw, reps: int) -> Rows:
    """14 incomplete patterns that lose nothing: differences, the worst of them, coloured rows, expectations."""
    for n, seeds, own in ((58, 1, 0), (200, 1, 0), (480, 1, 0), (480, 3, 0), (480, 3, 0.03)):
        alone, worst, coloured, bounds, mixes = [], [], [], [], []
        for r in range(reps):
            steps = draw.normal(size=(seeds, 1)) * 0.017 * (seeds > 1) + draw.normal(size=(seeds, 15)) * own
            runs = [patterns_of(hit_NK) for hit_NK in hits(draw, n, 15, steps=steps)]
            rows = pattern_rows(runs, True, seed=r)
            low = min(rows[1:], key=lambda row: row["scores"]["accuracy"])["simultaneous_interval"]
            alone += [a <= 0 <= b for a, b in (row["difference_interval"] for row in rows[1:])]
            worst.append(low[0] <= 0 <= low[1])
            coloured.append(any(not a <= 0 <= b for a, b in (row["simultaneous_interval"] for row in rows[1:])))
            bounds.append(all(row["bound"] <= 0.8 for row in rows))
            use = expected(model_of_use(runs, True, r), [f"m{m}" for m in range(4)], {"m0": 0.2, "m1": 0.5})
            mixes.append(use["interval"][0] <= 0.8 <= use["interval"][1])
        who = f"{n}, {seeds} seeds" if seeds > 1 else str(n)
        who += " that differ by pattern" if own else ""
        yield "difference", "accuracy, one pattern alone", who, percent(alone), "covers"
        yield "difference", "worst of 14 patterns, all together", who, percent(worst), "covers"
        yield "false alarm", "some pattern of 14 is coloured", who, percent(coloured), "at least one row"
        yield "bound", "every pattern is above its bound", who, percent(bounds), "holds"
        yield "score", "expected accuracy in use", who, percent(mixes), "covers"


def class_losses(draw: Draw, reps: int) -> Rows:
    """12 classes x 4 modalities, no effect: is the worst loss called one?"""
    for n in (240, 960):
        alarms = []
        for r in range(reps):
            truth_NC = np.eye(12)[np.arange(n) % 12]
            hit_NK = hits(draw, n, 5)[0] > 0
            models = []
            for k in range(5):
                guess_NC = np.where(hit_NK[:, k : k + 1], truth_NC, np.roll(truth_NC, 1, 1))
                models.append(predicted("single", "accuracy", 4 * guess_NC, truth_NC))
            everyone = torch.ones(n, dtype=torch.bool)
            without = {f"m{k}": (models[k], everyone) for k in range(1, 5)}
            found = class_intervals([models[0]], [without], seed=r)
            alarms.append(any(high < 0 for rows in found.values() for _, high in rows))
        yield "false alarm", "some class of 12 x 4 is coloured", str(n), percent(alarms), "at least one row"


def comparisons(draw: Draw, reps: int) -> Rows:
    """Equal recipes whose seeds differ by 1.7 points."""
    for recipes, seeds in ((2, 1), (2, 3), (2, 5), (6, 3)):
        told, covered = [], []
        for r in range(reps):
            runs, ease_N = [], draw.normal(size=480) * 0.85
            for _ in range(recipes):
                steps = draw.normal(size=(seeds, 1)) * 0.017 / PER_STEP
                own_SN = draw.normal(size=(seeds, 480)) * 0.37 + draw.normal(size=480) * 0.37
                runs.append([share(v) for v in (ease_N + own_SN + steps > -0.8416).astype(float)])
            rows = compare_recipes(runs, True, seed=r)[1:]
            told.append(any(row["verdict"] in ("better", "worse") for row in rows))
            covered += [a <= 0 <= b for a, b in (row["difference_interval"] for row in rows)]
        what = f"compare {recipes} recipes, {seeds} seed{'s' if seeds > 1 else ''} each"
        yield "false alarm", what, "480", percent(told), "at least one row"
        said = "covers" if seeds > 1 else "samples only"
        yield "difference", what + ", one row alone", "480", percent(covered), said


def calibration_errors(draw: Draw, reps: int) -> Rows:
    """A calibrated model: the error that it has, and what the report says that such a model has."""
    seen, shown, above = [], [], []
    for r in range(min(reps, 200)):
        score_NC = draw.normal(size=(480, 6)) * 1.5
        p_NC = np.exp(score_NC) / np.exp(score_NC).sum(1, keepdims=True)
        truth_NC = np.eye(6)[(p_NC.cumsum(1) > draw.random((480, 1))).argmax(1)]
        found = calibration([predicted("single", "accuracy", score_NC, truth_NC)], seed=r)
        seen.append(found["ece"])
        shown.append(found["ece_calibrated"])
        above.append(found["ece"] <= found["ece_limit"])
    yield (
        "ECE",
        "of a calibrated model",
        "480",
        f"{np.mean(seen):.3f}",
        f"shown beside it: {np.mean(shown):.3f}",
    )
    yield "ECE", "of a calibrated model is below its limit", "480", percent(above), "holds"
