"""What prediction sets promise, to the sample: order statistics and risk bounds written out from the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from u2a.evaluation.calibrated import expected_calibration_error, reached_coverage
from u2a.evaluation.calibration import CUTS, GRID, Calibration, PatternCalibration
from u2a.evaluation.calibration_fit import fit_calibration

NAMES = ("image", "text")
BOTH, IMAGE, TEXT = (True, True), (True, False), (False, True)


def some_classes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1.5, (n, 4)), rng.integers(0, 4, n)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [9, 19, 60, 200])
def test_a_set_is_cut_at_the_order_statistic_of_split_conformal_prediction(n: int, coverage: float) -> None:
    logits, target = some_classes(n, n)
    found = fit_calibration(NAMES, {BOTH: (logits, target)}, "single_label")
    p = found.probabilities(logits, "image+text", 2)
    ordered = sorted(1 - p[i, y] for i, y in enumerate(target))
    rank = math.ceil((n + 1) * coverage - 1e-9)  # Vovk: the ceil((n + 1) coverage)-th smallest of n scores
    wanted = (1 - ordered[rank - 1], "image+text") if rank <= n else (0.0, "none")
    cut, group = found.cut("image+text", 2, coverage)
    assert group == wanted[1]
    assert cut == pytest.approx(wanted[0], abs=2e-6)


@pytest.mark.parametrize("coverage", [0.55, 0.8, 0.9])
def test_many_scores_are_thinned_to_no_smaller_an_order_statistic(coverage: float) -> None:
    logits, target = some_classes(1700, 1)
    found = fit_calibration(NAMES, {BOTH: (logits, target)}, "single_label")
    one = found.of("image+text", 2)
    assert one.n == 1700
    assert len(one.scores) == 500
    p = found.probabilities(logits, "image+text", 2)
    ordered = sorted(1 - p[i, y] for i, y in enumerate(target))
    rank = math.ceil(1701 * coverage)
    score = 1 - found.cut("image+text", 2, coverage)[0]
    assert ordered[rank - 1] - 2e-6 <= score <= ordered[rank + 3] + 2e-6  # at most one step of 3.4 scores on


def test_a_sample_in_several_patterns_of_a_group_counts_once() -> None:
    """Five samples, seen once without each modality, are no ten: they cannot promise 0.9."""
    logits, target = some_classes(5, 0)
    found = fit_calibration(NAMES, {IMAGE: (logits, target), TEXT: (logits, target)}, "single_label")
    assert found.of("image+text", 2).n == 5  # "any"
    assert found.cut("image", 2, 0.9) == (0.0, "none")
    assert found.cut("image", 2, 0.8)[1] == "image"  # ceil(6 x 0.8) = 5 of 5


def test_the_finest_group_that_can_promise_is_taken() -> None:
    groups = {
        name: PatternCalibration(n, scores=tuple(np.linspace(0, s, n).tolist()))
        for name, n, s in (("image", 3, 0.1), ("1 of 2", 30, 0.2), ("any", 300, 0.3))
    }
    found = Calibration("single_label", groups)
    assert found.groups("image", 2) == ["image", "1 of 2", "any"]
    assert [found.cut("image", 2, coverage)[1] for coverage in (0.5, 0.9, 0.99)] == ["image", "1 of 2", "any"]
    assert found.cut("image+text", 2, 0.5)[1] == "any"


@pytest.mark.parametrize(("n", "coverage"), [(12, 0.8), (40, 0.9), (40, 0.7), (8, 0.95)])
def test_labels_are_cut_where_the_bounded_miss_rate_allows_it(n: int, coverage: float) -> None:
    """Conformal risk control: the largest threshold with (n risk + 1) / (n + 1) <= 1 - coverage."""
    rng = np.random.default_rng(n)
    logits, target = rng.normal(0, 2, (n, 3)), (rng.random((n, 3)) < 0.4).astype(float)
    target[0] = 0
    found = fit_calibration(NAMES, {BOTH: (logits, target)}, "multi_label")
    p = found.probabilities(logits, "image+text", 2)
    allowed = []
    for threshold in CUTS:
        missed = [
            sum(p[i, c] < threshold for c in range(3) if target[i, c]) / target[i].sum()
            if target[i].any()
            else 0
            for i in range(n)
        ]
        if (sum(missed) + 1) / (n + 1) <= 1 - coverage + 1e-9:
            allowed.append(threshold)
    wanted = (allowed[-1], "image+text") if allowed else (0.0, "none")
    assert found.cut("image+text", 2, coverage) == (pytest.approx(wanted[0]), wanted[1])


@pytest.mark.parametrize(("n_classes", "most", "n"), [(200, 0.02, 1000), (400, 0.01, 600)])
def test_sets_of_rare_labels_are_no_larger_than_the_promise_needs(n_classes: int, most: float, n: int) -> None:
    """Beside the smallest sets of one threshold that keep it on the same samples."""
    rng = np.random.default_rng(n)
    often_C = np.geomspace(0.001, most, n_classes)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        target = (rng.random((n, n_classes)) < often_C).astype(float)
        return logit(often_C) + 2 * target + rng.normal(size=target.shape), target

    found, (logits, target) = fit_calibration(NAMES, {BOTH: drawn(n)}, "multi_label"), drawn(2000)
    p = found.probabilities(logits, "image+text", 2)
    has = target.sum(1) > 0
    for coverage in (0.9, 0.95):
        held = p >= found.cut("image+text", 2, coverage)[0]
        missed = (~held & (target > 0)).sum(1)[has] / target.sum(1)[has]
        assert missed.sum() / len(p) <= 1 - coverage + 0.015
        enough = np.quantile(np.sort(p[target > 0]), 1 - coverage)  # about a label a sample: nearly the same
        assert held.sum(1).mean() <= 1.5 * (p >= enough).sum(1).mean()


def best_thresholds(p_N: np.ndarray, target_N: np.ndarray) -> list[float]:
    """Of the grid without its ends, those of the best F1 of one class."""
    grid = GRID[1:-1]
    f1 = [2 * ((p_N >= t) & (target_N > 0)).sum() / max((p_N >= t).sum() + target_N.sum(), 1) for t in grid]
    return [t for t, score in zip(grid, f1, strict=True) if score >= max(f1) - 1e-9]


def test_a_classs_threshold_is_drawn_towards_the_patterns_by_its_positives() -> None:
    """In log-odds, as if ten positives had voted for the pattern's; the middle of equally good ones."""
    rng = np.random.default_rng(2)
    logits, target = rng.normal(-0.5, 2, (60, 4)), (rng.random((60, 4)) < 0.3).astype(float)
    target[:, 3] = 0  # a class that never occurs has the pattern's
    found = fit_calibration(NAMES, {BOTH: (logits, target)}, "multi_label")
    p = found.probabilities(logits, "image+text", 2)
    grid = GRID[1:-1]
    guessed = [p >= t for t in grid]
    macro = [np.mean(2 * (g & (target > 0)).sum(0) / np.maximum(g.sum(0) + target.sum(0), 1)) for g in guessed]
    group = grid[int(np.argmax(macro))]  # of all patterns and of this one: there is but one
    for c in range(4):
        n, best = target[:, c].sum(), best_thresholds(p[:, c], target[:, c])
        own = best[len(best) // 2] if n else group
        wanted = expit((n * logit(own) + 10 * logit(group)) / (n + 10))
        assert found.thresholds("image+text", 2, 4)[c] == pytest.approx(wanted, abs=2e-6), c


def test_coverage_of_labels_is_the_mean_share_of_a_samples_labels() -> None:
    chosen = np.array([[True, False, True], [False, True, False], [True, True, True], [False, False, False]])
    target = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0]], float)
    assert reached_coverage(chosen, target) == pytest.approx((1 / 2 + 1 + 1 + 1) / 4)
    assert reached_coverage(chosen, np.array([0, 0, 2, 1])) == 0.5


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_the_calibration_error_is_that_of_fifteen_bins(kind: str) -> None:
    rng = np.random.default_rng(3)
    if kind == "single_label":
        p, target = softmax(rng.normal(0, 2, (300, 4)), 1), rng.integers(0, 4, 300)
        cases = [(row.max(), float(row.argmax() == y)) for row, y in zip(p, target, strict=True)]
    else:
        p, target = expit(rng.normal(0, 2, (300, 4))), (rng.random((300, 4)) < 0.3).astype(float)
        cases = list(zip(p.ravel(), target.ravel(), strict=True))
    error = 0.0
    for b in range(15):
        inside = [(sure, came) for sure, came in cases if b / 15 < sure <= (b + 1) / 15]
        if inside:
            error += abs(np.mean([s for s, _ in inside]) - np.mean([c for _, c in inside])) * len(inside)
    assert expected_calibration_error(p, target, kind) == pytest.approx(error / len(cases))  # type: ignore[arg-type]


def test_a_bin_holds_its_upper_edge() -> None:
    """Guo et al. (2017): bin m is ((m - 1)/15, m/15]; 0.2 lies in the third of them, 0.21 in the fourth."""
    p, target = np.array([[0.2, 0.21]]), np.array([[1.0, 0.0]])
    assert expected_calibration_error(p, target, "multi_label") == pytest.approx((0.8 + 0.21) / 2)
