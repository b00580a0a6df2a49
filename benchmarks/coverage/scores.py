"""Scores by themselves, two models' scores, and scores of a mix of patterns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.coverage.truths import (
    LABELS,
    POPULATION,
    RARE,
    TWELVE,
    Array,
    Draw,
    Rows,
    graded,
    multi_label,
    percent,
    predicted,
    single_label,
)
from u2a.report.values.expected import expected, model_of_use
from u2a.report.values.mixing import Mix
from u2a.report.values.patterns import PatternValues
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import of_score
from u2a.report.values.scores import Scores
from u2a.report.values.sources import Differences

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


def score_intervals(draw: Draw, reps: int) -> Rows:
    """Of single scores: the population's value is that of a very large sample."""
    for name, kind, metric, make in CASES:
        truth = np.mean([predicted(kind, metric, *make(draw, POPULATION)).score() for _ in range(3)])
        for n in (58, 200, 913):
            covered = []
            for _ in range(reps):
                (interval,) = Scores.of_seeds([of_score(predicted(kind, metric, *make(draw, n)))]).intervals()
                covered.append(interval[0] <= truth <= interval[1])
            yield "score", f"{name}", str(n), percent(covered), "covers"


def paired_map(draw: Draw, reps: int) -> Rows:
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


RATES = {"a": 0.2, "b": 0.5}
TWO = ((True, True), (True, False), (False, True))
#: Of the complete pattern, without b, without a: how far labels stand out, or how often the class is known.
STRENGTHS = {"multi": (3.0, 1.5, 0.8), "single": (0.85, 0.7, 0.4)}
IN_USE = [
    ("macro F1 in use", "single", "f1_macro", RARE),
    ("multi-label macro F1 in use", "multi", "f1_macro", LABELS),
    ("multi-label micro F1 in use", "multi", "f1_micro", LABELS),
    ("mAP in use, rare classes", "single", "map", RARE),
    ("multi-label mAP in use", "multi", "map", LABELS),
]


def three_patterns(draw: Draw, n: int, kind: str, metric: str, shares: Array) -> list[Predictions]:
    """The same samples in three patterns that tell less and less; what is easy stays easier in all."""
    C = len(shares)
    truth_N = draw.choice(C, n, p=shares / shares.sum())
    truth_NC = draw.random((n, C)) < shares if kind == "multi" else np.eye(C)[truth_N]
    common_NC, ease_N = draw.normal(size=(n, C)), draw.random(n)
    found = []
    for strength in STRENGTHS[kind]:
        if kind == "multi":
            score_NC = strength * (truth_NC - 0.6) + 0.8 * common_NC + 0.6 * draw.normal(size=(n, C))
        else:
            guess_N = np.where(ease_N < strength, truth_N, draw.choice(C, n, p=shares / shares.sum()))
            score_NC = 0.8 * common_NC + 0.6 * draw.normal(size=(n, C)) + 4 * np.eye(C)[guess_N]
        found.append(predicted(kind, metric, score_NC, truth_NC.astype(float)))
    return found


def in_use(found: list[Predictions], seed: int) -> dict[str, Any]:
    n, metric = len(found[0]), found[0].metric
    values = [of_score(one) for one in found]
    run = [
        PatternValues(present, (), n, 0, {metric: own.score}, own, values[0])
        for present, own in zip(TWO, values, strict=True)
    ]
    mix = Mix.of(found, found[0].truth_NC.numpy(), np.ones((n, 3), bool), metric)
    return expected(model_of_use([run], True, seed, mix), ("a", "b"), RATES)


def scores_in_use(draw: Draw, reps: int) -> Rows:
    """The score of a mix of three patterns, where that is no mean of the patterns' scores."""
    weights = [np.prod([1 - r if p else r for p, r in zip(t, RATES.values(), strict=True)]) for t in TWO]
    for name, kind, metric, shares in IN_USE:
        whole = three_patterns(draw, POPULATION, kind, metric, shares)
        truth = Mix.of(whole, whole[0].truth_NC.numpy(), np.ones((POPULATION, 3), bool), metric).at(weights)[0]
        for n in (58, 200, 913):
            covered = []
            for r in range(reps):
                low, high = in_use(three_patterns(draw, n, kind, metric, shares), r)["interval"]
                covered.append(low <= truth <= high)
            yield "score", name, str(n), percent(covered), "covers"
