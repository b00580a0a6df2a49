"""How well the report's figures hold: known truths are simulated, and scored by the report's own functions.

    python benchmarks/coverage.py            # or: make coverage
    python benchmarks/coverage.py --reps 200 # quicker, coarser

Prints a Markdown table: how often each 95 % interval covers the truth, and how often rows without any effect
are called worse. With 1000 repetitions a share of 95 % has a standard error of 0.7 points.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from u2a.plugins.loading import registry
from u2a.recipe.task import TaskSection
from u2a.report.values.calibration import calibration
from u2a.report.values.class_intervals import class_intervals
from u2a.report.values.comparison import compare_recipes
from u2a.report.values.expected import expected, model_of_use
from u2a.report.values.patterns import PatternValues, pattern_rows
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues, of_score
from u2a.report.values.scores import Scores
from u2a.report.values.sources import Differences

Array = NDArray[np.float64]
Draw = np.random.Generator
POPULATION = 200_000
RARE = np.array([0.5, 0.25, 0.12, 0.07, 0.04, 0.02])
TWELVE = np.geomspace(0.3, 0.01, 12)
LABELS = np.geomspace(0.5, 0.03, 19)
#: A latent step that moves an accuracy of 80 % by one.
PER_STEP = 0.28


def single_label(draw: Draw, n: int, right: float, shares: Array) -> tuple[Array, Array]:
    """Scores and truths of a classifier that knows the class with that probability, and else guesses."""
    C = len(shares)
    truth_N = draw.choice(C, n, p=shares / shares.sum())
    guess_N = np.where(draw.random(n) < right, truth_N, draw.choice(C, n, p=shares / shares.sum()))
    return draw.normal(size=(n, C)) + 4 * np.eye(C)[guess_N], np.eye(C)[truth_N]


def graded(draw: Draw, n: int, gap: float, shares: Array) -> tuple[Array, Array]:
    """The best possible scores of classes whose features are `gap` standard deviations from each other's."""
    p_C, C = shares / shares.sum(), len(shares)
    truth_NC = np.eye(C)[draw.choice(C, n, p=p_C)]
    return gap * (draw.normal(size=(n, C)) + gap * truth_NC) + np.log(p_C), truth_NC


def multi_label(draw: Draw, n: int, gap: float, shares: Array) -> tuple[Array, Array]:
    """Labels whose score is higher by `gap` standard deviations; half of a sample's noise is common to them."""
    truth_NC = draw.random((n, len(shares))) < shares
    noise_NC = draw.normal(size=truth_NC.shape) + 0.5 * draw.normal(size=(n, 1))
    return gap * (truth_NC - 0.6) + noise_NC, truth_NC.astype(float)


def predicted(kind: str, metric: str, score_NC: Array, truth_NC: Array) -> Predictions:
    if kind == "multi":
        p_NC, guess_NC = 1 / (1 + np.exp(-score_NC)), score_NC > 0
    else:
        e_NC = np.exp(score_NC - score_NC.max(1, keepdims=True))
        p_NC, guess_NC = e_NC / e_NC.sum(1, keepdims=True), score_NC == score_NC.max(1, keepdims=True)
    p = torch.tensor(p_NC, dtype=torch.float32)
    task = task_of(f"{kind}_label", p.shape[1])
    return Predictions(p, torch.tensor(guess_NC), torch.tensor(truth_NC > 0), task, metric)


@cache
def task_of(kind: str, n_classes: int) -> TaskSection:
    """A task of so many classes, with the installed metrics."""
    document = {"kind": kind, "classes": tuple(f"c{c}" for c in range(n_classes))}
    return TaskSection.model_validate(document, context={"plugins": registry()})


Cases = list[tuple[str, str, str, Callable[[Draw, int], tuple[Array, Array]]]]
CASES: Cases = [
    ("accuracy .80", "single", "accuracy", lambda draw, n: single_label(draw, n, 0.76, np.ones(6))),
    ("accuracy .98", "single", "accuracy", lambda draw, n: single_label(draw, n, 0.976, np.ones(6))),
    ("macro F1, rare classes", "single", "f1_macro", lambda draw, n: single_label(draw, n, 0.7, RARE)),
    ("macro F1 .92, rare classes", "single", "f1_macro", lambda draw, n: single_label(draw, n, 0.9, RARE)),
    ("multi-label macro F1", "multi", "f1_macro", lambda draw, n: multi_label(draw, n, 3.0, LABELS)),
    ("multi-label micro F1", "multi", "f1_micro", lambda draw, n: multi_label(draw, n, 3.0, LABELS)),
    ("multi-label mAP", "multi", "map", lambda draw, n: multi_label(draw, n, 1.5, LABELS)),
    ("multi-label mAP .86", "multi", "map", lambda draw, n: multi_label(draw, n, 3.0, LABELS)),
    ("mAP, rare classes", "single", "map", lambda draw, n: single_label(draw, n, 0.7, RARE)),
    ("mAP .86, rare classes", "single", "map", lambda draw, n: single_label(draw, n, 0.9, RARE)),
    ("mAP, 12 classes to 1 %", "single", "map", lambda draw, n: graded(draw, n, 2.0, TWELVE)),
    ("mAP .97, rare classes", "single", "map", lambda draw, n: graded(draw, n, 3.0, RARE)),
    ("multi-label mAP .24", "multi", "map", lambda draw, n: multi_label(draw, n, 0.5, LABELS)),
]


def score_intervals(draw: Draw, reps: int) -> Iterator[tuple[str, ...]]:
    """Of single scores: the population's value is that of a very large sample."""
    for name, kind, metric, make in CASES:
        truth = np.mean([predicted(kind, metric, *make(draw, POPULATION)).score() for _ in range(3)])
        for n in (58, 200, 913):
            covered = []
            for _ in range(reps):
                (interval,) = Scores.of_seeds([of_score(predicted(kind, metric, *make(draw, n)))]).intervals()
                covered.append(interval[0] <= truth <= interval[1])
            yield "score", f"{name}", str(n), percent(covered), "covers"


def hits(draw: Draw, n: int, columns: int, agree: float = 0.8, steps: ArrayLike = ((0.0,),)) -> Array:
    """``[S, N, K]`` right answers of S seeds in K patterns, all 80 % right; they agree on easy samples."""
    ease_N = draw.normal(size=n) * np.sqrt(agree)
    step_SK = np.asarray(steps, dtype=float)
    own = draw.normal(size=(len(step_SK), n, columns)) * np.sqrt(1 - agree)
    return (ease_N[:, None] + own + step_SK[:, None] / PER_STEP > -0.8416).astype(float)


def share(value_N: Array) -> PseudoValues:
    return PseudoValues(float(value_N.mean()), value_N, len(value_N), share=True)


def patterns_of(hit_NK: Array) -> list[PatternValues]:
    """A complete pattern and the others, of four modalities."""
    found = []
    for k, value_N in enumerate(hit_NK.T):
        present = tuple(bool((15 - k) >> m & 1) for m in range(4))
        missing = tuple(f"m{m}" for m in range(4) if not present[m])
        own, beside = share(value_N), share(hit_NK[:, 0])
        found.append(PatternValues(present, missing, len(value_N), 0, {"accuracy": own.score}, own, beside))
    return found


def pattern_figures(draw: Draw, reps: int) -> Iterator[tuple[str, ...]]:
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


def paired_map(draw: Draw, reps: int) -> Iterator[tuple[str, ...]]:
    """Two equal models' mean average precision."""
    for n in (200, 913):
        covered = []
        for _ in range(reps):
            truth_NC = draw.random((n, 19)) < LABELS
            common_NC = draw.normal(size=truth_NC.shape)
            both = []
            for _ in range(2):
                score_NC = 1.5 * truth_NC + 0.9 * common_NC + 0.44 * draw.normal(size=truth_NC.shape)
                both.append(of_score(predicted("multi", "map", score_NC, truth_NC.astype(float))))
            (row,) = Differences.of_one((both[1].value_N - both[0].value_N)[None, :, None]).intervals()
            covered.append(row[0] <= 0 <= row[1])
        yield "difference", "multi-label mAP", str(n), percent(covered), "covers"


def class_losses(draw: Draw, reps: int) -> Iterator[tuple[str, ...]]:
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


def comparisons(draw: Draw, reps: int) -> Iterator[tuple[str, ...]]:
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


def calibration_errors(draw: Draw, reps: int) -> Iterator[tuple[str, ...]]:
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


def percent(values: Sequence[bool]) -> str:
    return f"{100 * np.mean(values):.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", type=int, nargs="*", help="which parts of the table, from 0; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw, began = np.random.default_rng(options.seed), time.monotonic()
    print("| figure | what | N | measured | |\n|---|---|---|---|---|")
    every = [score_intervals, pattern_figures, paired_map, class_losses, comparisons, calibration_errors]
    chosen = every if options.parts is None else [every[number] for number in options.parts]
    for part in chosen:
        for row in part(draw, options.reps):
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{options.reps} repetitions, seed {options.seed}, {time.monotonic() - began:.0f} s on one core")


if __name__ == "__main__":
    main()
