"""The score of a mix of patterns against scikit-learn: samples repeated, weighted, and moved a little."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from tasks import make_task

from u2a.report.values.expected import expected, model_of_use
from u2a.report.values.mixing import Mix, choose
from u2a.report.values.patterns import PatternValues, pattern_rows
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import on

N, C, K = 50, 4, 3
PATTERNS = ((True, True), (True, False), (False, True))
CASES = [
    ("single_label", "f1_macro"),
    ("single_label", "map"),
    ("multi_label", "f1_macro"),
    ("multi_label", "f1_micro"),
    ("multi_label", "map"),
]
#: How often each pattern comes of nine times at the rates .5 and .2: 4/10, 1/10, 4/10.
TIMES, RATES = (4, 1, 4), {"a": 0.5, "b": 0.2}


def made(kind: str, metric: str, seed: int = 0) -> tuple[list[Predictions], np.ndarray]:
    """Three patterns of 50 samples; the first ten have nothing left in the last; one class never occurs."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randint(C - 1, (N,), generator=draw)
    labels = torch.nn.functional.one_hot(truth, C).float()
    if kind == "multi_label":
        truth = labels = (torch.rand(N, C, generator=draw) < torch.tensor([0.6, 0.3, 0.1, 0.0])).float()
    task = make_task(kind=kind, classes=tuple("abcd"), metric=metric)
    patterns = []
    for strength in (2.0, 1.0, 0.5):
        logits = strength * labels + torch.randn(N, C, generator=draw)
        patterns.append(Predictions.of((logits * 4).round() / 4, truth, task))
    used_NK = np.ones((N, K), bool)
    used_NK[:10, 2] = False
    return patterns, used_NK


def mixed(patterns: list[Predictions], used_NK: np.ndarray) -> Mix:
    return Mix.of(patterns, patterns[0].truth_NC.numpy(), used_NK, patterns[0].metric)


def scikit(patterns: list[Predictions], weight_NK: np.ndarray) -> float:
    """Every sample in every pattern, one below the other, with its weight."""
    weight = weight_NK.T.ravel()
    truth = np.concatenate([one.truth_NC.numpy() for one in patterns])[weight > 0]
    guess = np.concatenate([one.guess_NC.numpy() for one in patterns])[weight > 0]
    p = np.concatenate([one.probability_NC.numpy() for one in patterns])[weight > 0]
    weight, occurs = weight[weight > 0], truth.any(0)
    if patterns[0].metric == "f1_micro":
        return float(f1_score(truth, guess, average="micro", sample_weight=weight, zero_division=0))
    if patterns[0].metric == "f1_macro":
        each = f1_score(truth, guess, average=None, sample_weight=weight, zero_division=0)
        return float(each[occurs].mean())
    each = [average_precision_score(truth[:, c], p[:, c], sample_weight=weight) for c in np.flatnonzero(occurs)]
    return float(np.mean(each))


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_the_score_in_use_is_that_of_all_samples_each_as_often_as_its_patterns_come(kind: str, metric: str):
    patterns, used_NK = made(kind, metric)
    times_NK = used_NK * np.array(TIMES)
    rows = np.repeat(np.arange(N * K), times_NK.T.ravel())  # no weights: every row as often as it comes
    truth, guess, p = (
        np.concatenate([getattr(one, part).numpy() for one in patterns])[rows]
        for part in ("truth_NC", "guess_NC", "probability_NC")
    )
    occurs = np.flatnonzero(truth.any(0))
    if metric == "f1_micro":
        wanted = f1_score(truth, guess, average="micro", zero_division=0)
    elif metric == "f1_macro":
        wanted = np.mean([f1_score(truth[:, c], guess[:, c], zero_division=0) for c in occurs])
    else:
        wanted = np.mean([average_precision_score(truth[:, c], p[:, c]) for c in occurs])
    found = expected(use(patterns, used_NK), ("a", "b"), RATES)
    assert found["score"] == pytest.approx(wanted, abs=1e-6)
    assert found["exact"]
    assert abs(found["score"] - found["mean_of_patterns"]) > 1e-4  # or the case shows nothing


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_the_variance_is_that_of_moving_each_samples_weight_a_little(kind: str, metric: str):
    patterns, used_NK = made(kind, metric)
    weight_NK, step = used_NK * np.array(TIMES, float), 1e-4
    moved = []
    for i in range(N):
        more_NK = weight_NK.copy()
        more_NK[i] *= 1 + step
        less_NK = weight_NK.copy()
        less_NK[i] *= 1 - step
        moved.append((scikit(patterns, more_NK) - scikit(patterns, less_NK)) / (2 * step))
    score, variance = mixed(patterns, used_NK).at(TIMES)
    assert score == pytest.approx(scikit(patterns, weight_NK), abs=1e-6)
    assert np.mean(moved) == pytest.approx(0, abs=1e-6)
    assert variance == pytest.approx(N / (N - 1) * np.sum(np.square(moved)), rel=1e-3)


def use(patterns: list[Predictions], used_NK: np.ndarray, seeds: int = 1) -> dict:
    """What the calculator works with, of one or several equal runs."""
    run = []
    for k, present in enumerate(PATTERNS):
        missing = tuple(name for name, there in zip("ab", present, strict=True) if not there)
        own, beside = (on(used_NK[:, k], one) for one in (patterns[k], patterns[0]))
        n = int(used_NK[:, k].sum())
        run.append(PatternValues(present, missing, n, N - n, {patterns[0].metric: own.score}, own, beside))
    mix = Mix.joined([mixed(patterns, used_NK)] * seeds)
    return model_of_use([run] * seeds, True, mix=mix)


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_at_rate_0_score_and_interval_are_those_of_the_complete_pattern(kind: str, metric: str):
    patterns, used_NK = made(kind, metric)
    model = use(patterns, used_NK)
    found = expected(model, ("a", "b"), {})
    whole = on(used_NK[:, 0], patterns[0])
    complete = PatternValues((True, True), (), N, 0, {metric: whole.score}, whole, whole)
    row = pattern_rows([[complete] * 2], True)[0]
    assert found["score"] == pytest.approx(patterns[0].score(), abs=1e-6)
    assert found["interval"] == pytest.approx(row["interval"], abs=1e-6)


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_what_the_page_carries_says_the_same(kind: str, metric: str):
    model = use(*made(kind, metric), seeds=2)
    plain = model | {"mix": model["mix"].plain()}
    found, again = (expected(one, ("a", "b"), RATES) for one in (model, plain))
    assert again["score"] == pytest.approx(found["score"], abs=1e-9)
    assert again["interval"] == pytest.approx(found["interval"], abs=1e-9)


def test_the_interval_counts_what_the_mix_adds():
    """Two patterns that each rank perfectly, on other scales: together they do not, and no pattern shows it."""
    truth = np.arange(N) % 2 == 0
    scales = [np.where(truth, 0.9, 0.6), np.where(truth, 0.5, 0.1), np.where(truth, 0.9, 0.6)]
    task, patterns = make_task(kind="multi_label", classes=("a", "never"), metric="map"), []
    for p in scales:
        p_NC = torch.tensor(np.stack([p, np.zeros(N)], 1), dtype=torch.float32)
        truth_NC = torch.tensor(np.stack([truth, np.zeros(N, bool)], 1))
        patterns.append(Predictions(p_NC, p_NC > 0.5, truth_NC, task, "map"))
    found = expected(use(patterns, np.ones((N, K), bool)), ("a", "b"), {"b": 0.5})
    # True with half the weight first, at precision 1; then all false of the first pattern, then the other half.
    assert found["score"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["mean_of_patterns"] == 1
    assert found["interval"][0] < 0.8 < found["interval"][1] < 0.95


def test_too_many_values_are_weighed_on_a_part_of_the_samples():
    chosen = choose(1000, each=50, limit=10_000)
    assert len(set(chosen.tolist())) == 200
    assert (chosen == choose(1000, each=50, limit=10_000)).all()
    assert len(choose(1000, each=5, limit=10_000, most=400)) == 400
    assert choose(1000, each=5, limit=10_000).tolist() == list(range(1000))
    patterns, used_NK = made("multi_label", "map")
    part = Mix.of(patterns, patterns[0].truth_NC.numpy(), used_NK, "map", np.arange(10, 50, 2))
    doubled = [one.at(torch.arange(N) % 2 == 0).at(torch.arange(25) >= 5) for one in patterns]
    alone = Mix.of(doubled, doubled[0].truth_NC.numpy(), used_NK[10:50:2], "map")
    assert part.at(TIMES)[0] == alone.at(TIMES)[0]
    assert part.at(TIMES)[1] == pytest.approx(alone.at(TIMES)[1] * 20 / N)  # they stand for all
