"""Calibration against known truths: temperatures, thresholds, and the coverage that prediction sets promise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from sklearn.metrics import f1_score, log_loss

from u2a.evaluation.calibrated import expected_calibration_error, reached_coverage
from u2a.evaluation.calibration import GRID, Calibration, PatternCalibration, decide
from u2a.evaluation.calibration_fit import (
    _f1,
    _misses,
    _one_threshold,
    _thinned,
    _thresholds,
    fit_calibration,
    negative_log_likelihood,
)

NAMES = ("image", "text")
BOTH, IMAGE, TEXT = (True, True), (True, False), (False, True)


def classes(n: int, sharpness: float, seed: int, C: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `sharpness` times too sure, and classes drawn from the true probabilities."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, (n, C))
    target = np.array([rng.choice(C, p=p) for p in softmax(true, 1)])
    return sharpness * true, target


def labels(n: int, sharpness: float, seed: int, C: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.normal(-1.2, 1.5, (n, C))
    return sharpness * true, (rng.random((n, C)) < expit(true)).astype(float)


def test_each_pattern_gets_its_own_temperature() -> None:
    found = fit_calibration(
        NAMES,
        {BOTH: classes(3000, 3, 0), IMAGE: classes(3000, 1, 1), TEXT: classes(3000, 0.5, 2)},
        "single_label",
    )
    assert found.of("image+text", 2).temperature == pytest.approx(3, rel=0.08)
    assert found.of("image", 2).temperature == pytest.approx(1, rel=0.08)
    assert found.of("text", 2).temperature == pytest.approx(0.5, rel=0.08)
    logits, target = classes(3000, 3, 9)
    raw, calibrated = softmax(logits, 1), found.probabilities(logits, "image+text", 2)
    assert expected_calibration_error(calibrated, target, "single_label") < 0.03
    assert expected_calibration_error(raw, target, "single_label") > 0.15


def test_the_common_temperature_is_drawn_towards_one_as_if_a_sample_of_each_pattern_had_voted() -> None:
    data = {BOTH: classes(6, 3, 0), IMAGE: classes(6, 3, 1)}
    found = fit_calibration(NAMES, data, "single_label")
    grid = np.arange(-2, 2, 2e-3)
    rows = [
        sum(-np.log(softmax(logits / np.exp(z), 1)[range(6), y]).sum() for logits, y in data.values())
        for z in grid
    ]
    wanted = grid[(np.array(rows) + 2 * grid**2).argmin()]
    assert np.log(found.of("any", 2).temperature) == pytest.approx(wanted, abs=2e-3)
    assert abs(wanted - grid[np.argmin(rows)]) > 0.02, "the case tells nothing"


@pytest.mark.parametrize("n", [8, 60])
def test_a_few_samples_that_are_all_right_make_nothing_certain(n: int) -> None:
    """Right probabilities of classes that are easily told: fresh samples find them as good as before."""
    before, after = [], []
    for seed in range(8):
        sides = []
        for some in (n, 500):
            rng = np.random.default_rng([seed, some])
            target = rng.integers(0, 3, some)
            sides.append((4 * (rng.normal(0, 1, (some, 3)) + 4 * np.eye(3)[target]), target))
        found = fit_calibration(NAMES, {BOTH: sides[0]}, "single_label")
        logits, target = sides[1]
        calibrated = found.probabilities(logits, "image+text", 2)
        before.append(-np.log(softmax(logits, 1)[range(500), target]).mean())
        after.append(-np.log(calibrated[range(500), target]).mean())
    assert np.mean(after) < 1.5 * np.mean(before)


def test_sets_hold_classes_that_are_next_to_certain() -> None:
    """Nine scores of ten lie below the digits that are kept of them: the promise stands, over splits."""
    reached = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        target = rng.integers(0, 3, 1200)
        logits = 6 * (rng.normal(0, 1, (1200, 3)) + 4 * np.eye(3)[target])
        found = fit_calibration(NAMES, {BOTH: (logits[:200], target[:200])}, "single_label")
        held = found.probabilities(logits[200:], "image+text", 2) >= found.cut("image+text", 2, 0.9)[0]
        reached.append(reached_coverage(held, target[200:]))
    assert np.mean(reached) > 0.89


def test_a_small_pattern_stays_near_the_common_temperature() -> None:
    few = fit_calibration(NAMES, {BOTH: classes(3000, 3, 0), IMAGE: classes(4, 0.3, 1)}, "single_label")
    many = fit_calibration(NAMES, {BOTH: classes(3000, 3, 0), IMAGE: classes(3000, 0.3, 1)}, "single_label")
    assert few.of("image", 2).temperature > 1.5 > 0.4 > many.of("image", 2).temperature


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_true_class_as_often_as_promised_in_every_pattern(coverage: float) -> None:
    """Averaged over splits, as the promise is over them: each pattern has its own quantile."""
    sharpness = {BOTH: 1.0, IMAGE: 2.0, TEXT: 0.4}
    reached: dict[str, list[float]] = {"image+text": [], "image": [], "text": []}
    for seed in range(40):
        fitted = {p: classes(200, s, 10 * seed + i) for i, (p, s) in enumerate(sharpness.items())}
        found = fit_calibration(NAMES, fitted, "single_label")
        for i, (name, s) in enumerate(zip(reached, sharpness.values(), strict=True)):
            logits, target = classes(400, s, 10 * seed + 5 + i)
            cut, group = found.cut(name, 2, coverage)
            assert group == name
            reached[name].append(reached_coverage(found.probabilities(logits, name, 2) >= cut, target))
    for name, values in reached.items():
        assert np.mean(values) == pytest.approx(coverage, abs=0.02), name


def test_label_sets_miss_no_more_than_promised() -> None:
    missed = []
    for seed in range(30):
        found = fit_calibration(NAMES, {BOTH: labels(300, 2, seed)}, "multi_label")
        logits, target = labels(600, 2, 100 + seed)
        cut, _ = found.cut("image+text", 2, 0.9)
        missed.append(1 - reached_coverage(found.probabilities(logits, "image+text", 2) >= cut, target))
    assert 0.07 < np.mean(missed) < 0.105


def test_too_few_samples_fall_back_to_a_coarser_group_and_then_to_every_class() -> None:
    found = fit_calibration(
        NAMES, {BOTH: classes(300, 1, 0), IMAGE: classes(5, 1, 1), TEXT: classes(300, 1, 2)}, "single_label"
    )
    assert found.cut("image", 2, 0.9)[1] == "1 of 2"
    assert found.cut("image+text", 2, 0.9)[1] == "image+text"
    tiny = fit_calibration(NAMES, {BOTH: classes(5, 1, 0)}, "single_label")
    assert tiny.cut("image+text", 2, 0.9) == (0.0, "none")
    assert Calibration("single_label").cut("image", 2, 0.9) == (0.0, "none")


def test_thresholds_reach_the_best_f1_that_one_threshold_a_class_can() -> None:
    logits, target = labels(4000, 0.4, 0)
    found = fit_calibration(NAMES, {BOTH: (logits, target)}, "multi_label")
    p = found.probabilities(logits, "image+text", 2)
    grid = np.linspace(0.01, 0.99, 99)
    best = [max(f1_score(target[:, c], p[:, c] >= t) for t in grid) for c in range(4)]
    cuts = found.thresholds("image+text", 2, 4)
    mine = [f1_score(target[:, c], p[:, c] >= cuts[c]) for c in range(4)]
    assert mine == pytest.approx(best, abs=0.01)
    assert np.array_equal(decide(p, cuts) >= 0.5, p >= cuts)
    plain = [f1_score(target[:, c], p[:, c] >= 0.5) for c in range(4)]
    assert np.mean(mine) > np.mean(plain) + 0.05


def test_a_rare_classs_threshold_stays_near_the_patterns() -> None:
    logits, target = labels(400, 1, 0)
    target[:, 3] = 0
    target[:2, 3] = 1
    logits[:2, 3] = 9.0  # its own best threshold would be near 1
    cuts = fit_calibration(NAMES, {BOTH: (logits, target)}, "multi_label").thresholds("image+text", 2, 4)
    assert abs(cuts[3] - np.median(cuts[:3])) < 0.2


def test_a_pattern_that_no_sample_can_have_is_left_out() -> None:
    nobody = np.zeros((0, 5)), np.zeros(0, int)
    there = {BOTH: classes(40, 1, 0)}
    assert fit_calibration(NAMES, {**there, IMAGE: nobody}, "single_label") == fit_calibration(
        NAMES, there, "single_label"
    )
    assert fit_calibration(NAMES, {IMAGE: nobody}, "single_label") == Calibration("single_label")


def test_validation_without_a_single_label_calibrates_nothing() -> None:
    """Else every label would be improbable, at any threshold likely, and in no set."""
    logits_NC = np.random.default_rng(0).normal(size=(40, 3))
    labels_NC = (logits_NC > 0).astype(float)
    none = {(True, True): (logits_NC, np.zeros((40, 3)))}
    assert fit_calibration(("a", "b"), none, "multi_label").patterns == {}
    some = fit_calibration(("a", "b"), {**none, (True, False): (logits_NC, labels_NC)}, "multi_label")
    alone = fit_calibration(("a", "b"), {(True, False): (logits_NC, labels_NC)}, "multi_label")
    assert some == alone
    assert "a" in alone.patterns


def test_thresholds_lie_inside_the_grid_whatever_is_certain() -> None:
    """One threshold for all classes is the first of the best, a class's own the middle of its best."""
    p_NC, target_NC = np.array([[0.0175, 0.5], [0.9, 0.0225]]), np.ones((2, 2))  # all have all: low is right
    assert _one_threshold(p_NC, target_NC) == 0.005
    own = logit([0.01, 0.015])  # of 0.005 to 0.015, and of 0.005 to 0.02
    wanted = expit((2 * own + 10 * logit(0.005)) / 12)
    assert _thresholds(p_NC, target_NC, 0.005) == pytest.approx(tuple(wanted), abs=1e-6)
    p_NC, target_NC = np.array([[1.0], [0.999]]), np.array([[1.0], [0.0]])  # only 1 itself would be right
    assert _one_threshold(p_NC, target_NC) == 0.005
    assert _thresholds(p_NC, target_NC, 0.005) == pytest.approx((expit(10 / 11 * logit(0.005)),), abs=1e-6)


def test_f1_counts_what_is_at_the_threshold_as_guessed() -> None:
    found = _f1(np.array([0.5, 0.25, 0.1]), np.array([1.0, 0.0, 0.0]), np.array([0.1, 0.25, 0.5, 0.6]))
    assert found.tolist() == [2 / 4, 2 / 3, 1, 0]


def test_twice_as_many_scores_as_are_kept_leave_every_second() -> None:
    assert _thinned(np.arange(1000, 0, -1) / 1000) == tuple(np.arange(2, 1001, 2) / 1000)


def test_a_temperature_stays_between_two_bounds() -> None:
    """e^-3 and e^3, however wrong the logits of many samples are."""
    logits, target = classes(5000, 1, 0)
    for sharpness, bound in ((1e-3, -3), (1e3, 3)):
        found = fit_calibration(NAMES, {BOTH: (sharpness * logits, target)}, "single_label")
        assert np.log(found.of("any", 2).temperature) == pytest.approx(bound, abs=1e-3)


def test_a_label_at_the_threshold_itself_is_not_missed() -> None:
    """Two labels of one sample; the other sample has none."""
    p_NC, target_NC = np.array([[GRID[50], GRID[180]], [0.1, 0.2]]), np.array([[1.0, 1.0], [0.0, 0.0]])
    assert _misses(p_NC, target_NC) == (*[0.0] * 131, *[0.25] * 130, *[0.5] * 20)


def test_the_likelihood_is_a_mean_over_samples_and_classes() -> None:
    logits, target = classes(50, 2, 0)
    wanted = log_loss(target, softmax(logits, 1), labels=range(5))
    assert negative_log_likelihood(logits, target, "single_label") == pytest.approx(wanted)
    logits, target = labels(50, 2, 0)
    wanted = np.mean([log_loss(target[:, c], expit(logits[:, c])) for c in range(4)])
    assert negative_log_likelihood(logits, target, "multi_label") == pytest.approx(wanted)


def test_a_calibration_outlives_json() -> None:
    found = fit_calibration(NAMES, {BOTH: labels(700, 2, 0), TEXT: labels(60, 1, 1)}, "multi_label")
    again = Calibration.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again == found
    assert Calibration.from_dict(None) is None


def test_where_nothing_was_fitted_probabilities_are_the_models_own_and_labels_begin_at_a_half() -> None:
    logits_NC = np.array([[1.0, 0.0, -1.0]])
    plain, many = Calibration("single_label"), Calibration("multi_label")
    odds = np.exp(logits_NC)
    assert plain.probabilities(logits_NC, "a", 2) == pytest.approx(odds / odds.sum())
    assert many.probabilities(logits_NC, "a", 2) == pytest.approx(odds / (1 + odds))
    assert many.thresholds("a", 2, 3).tolist() == [0.5, 0.5, 0.5]
    assert plain.of("a", 2).n == 0
    assert plain.cut("a", 2, 0.9) == (0.0, "none")


def test_a_checkpoint_from_before_lines_has_the_neutral_one() -> None:
    kept = {"n": 9, "temperature": 2.0, "thresholds": [], "scores": [0.1], "misses": []}
    found = Calibration.from_dict({"kind": "single_label", "patterns": {"any": kept}})
    assert found is not None
    assert (found.of("a", 2).slope, found.of("a", 2).shift) == (1.0, 0.0)


def test_the_cut_is_the_smallest_score_or_the_highest_threshold_that_keeps_the_promise() -> None:
    """Nine samples: at 10 % the first of ten places; lost labels (9 m + 1) / 10, 0.2 where m is 1/9."""
    scores = tuple(np.arange(1, 10) / 10)
    one = Calibration("single_label", {"any": PatternCalibration(9, scores=scores)})
    for coverage, place in ((0.1, 0), (0.2, 1), (0.5, 4), (0.9, 8)):
        assert one.cut("a", 2, coverage) == (pytest.approx(1 - scores[place]), "any")
    assert one.cut("a", 2, 0.91) == (0.0, "none")  # nine samples cannot promise that
    nothing = {"a": PatternCalibration(50), "any": PatternCalibration(9, scores=scores)}
    assert Calibration("single_label", nothing).cut("a", 2, 0.5)[1] == "any"
    misses = (*[0.0] * 50, *[1 / 9] * 50, *[0.12] * 101)
    many = Calibration("multi_label", {"any": PatternCalibration(9, misses=misses)})
    assert many.cut("a", 2, 0.8) == (pytest.approx(GRID[99]), "any")
    assert many.cut("a", 2, 0.81) == (pytest.approx(GRID[49]), "any")


def test_certain_probabilities_at_certain_thresholds_are_at_a_half() -> None:
    assert decide(np.array([[1.0, 0.0]]), np.array([1.0, 0.0])) == pytest.approx(np.array([[0.5, 0.5]]))
