"""What evaluations say of confidence, against scikit-learn and by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss
from tasks import make_task
from tokens import Adding

from u2a.evaluation import rising
from u2a.evaluation.calibrated import (
    calibration_of,
    error_by_chance,
    errors_of_confidence,
    expected_calibration_error,
    proper_scores,
    reached_coverage,
)
from u2a.evaluation.calibration import GRID, Calibration, PatternCalibration
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.rising import rising_confidence


def test_proper_scores_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(4), 50), rng.integers(4, size=50)
    found = errors_of_confidence(p, y, "single_label")
    assert found["nll"] == pytest.approx(log_loss(y, p, labels=range(4)))
    each = [brier_score_loss((y == c).astype(int), p[:, c]) for c in range(4)]
    assert found["brier"] == pytest.approx(sum(each))
    many, truth = rng.random((50, 3)), rng.integers(2, size=(50, 3)).astype(float)
    found = errors_of_confidence(many, truth, "multi_label")
    assert found["brier"] == pytest.approx(
        np.mean([brier_score_loss(truth[:, c], many[:, c]) for c in range(3)])
    )
    assert found["nll"] == pytest.approx(np.mean([log_loss(truth[:, c], many[:, c]) for c in range(3)]))


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_what_of_a_calibration_error_is_chance(kind: Any) -> None:
    """Outcomes drawn from the probabilities themselves have that error, on average."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 400) if kind == "single_label" else rng.random((100, 4))
    errors = []
    for _ in range(200):
        drawn = (p.cumsum(1) < rng.random((len(p), 1))).sum(1) if p.shape[0] == 400 else rng.random(p.shape) < p
        errors.append(expected_calibration_error(p, np.minimum(drawn, 3), kind))
    assert error_by_chance(p, kind) == pytest.approx(np.mean(errors), rel=0.05)


def test_a_confidence_rises_against_what_the_sample_had_before(monkeypatch: pytest.MonkeyPatch) -> None:
    margin = {(True, True): [2.0, 1.0, 3.0, 1.0], (True, False): [1.0, 2.0, 4.0, 9.0]}

    def classify(model: object, encoded: object, present_NM: torch.Tensor) -> torch.Tensor:
        kept = tuple(present_NM[0].tolist())
        return torch.tensor([[m, 0.0] for m in margin[kept]])

    monkeypatch.setattr(rising, "classify", classify)
    model = cast(Any, SimpleNamespace(names=("a", "b")))
    present = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    encoded = cast(Any, SimpleNamespace(present_NM=present))
    raw = Calibration("single_label")
    assert rising_confidence(model, encoded, raw, (True, False)) == pytest.approx(2 / 3)  # the last had no b
    assert rising_confidence(model, encoded, raw, (True, True)) is None
    tempered = Calibration("single_label", {"a": PatternCalibration(9, 3.0), "a+b": PatternCalibration(9)})
    assert rising_confidence(model, encoded, tempered, (True, False)) == 0


def said(a: list[list[float]], b: list[list[float]], target: list[Any]) -> Encoded:
    """Samples by what a and b say; the last has only b."""
    present = torch.ones(len(a), 2, dtype=torch.bool)
    present[-1, 0] = False
    cls_NMD = torch.stack([torch.tensor(a), torch.tensor(b)], 1)
    mask = torch.zeros(len(a), 2, 2, cls_NMD.shape[2])
    keys = tuple(map(str, range(len(a))))
    return Encoded(cls_NMD, mask, present, torch.tensor(target), torch.arange(len(a)), keys)


def test_what_calibration_makes_of_a_pattern_of_one_label() -> None:
    """Logits are twice the logarithms of (.5, .25, .25), (.2, .6, .2) and the first again: at 2 they are right.

    Raw probabilities go with the squares: 4 : 1 : 1 and 1 : 9 : 1. Where b takes back all that a said, a is
    surer alone; elsewhere b says nothing. With a temperature of 100 any pattern is surer than the complete one.
    """
    p = np.array([[0.5, 0.25, 0.25], [0.2, 0.6, 0.2], [0.5, 0.25, 0.25], [0.9, 0.05, 0.05]])
    a = (2 * np.log(p)).astype("float32").tolist()
    nothing = [0.0, 0.0, 0.0]
    encoded = said(a, [[-x for x in a[0]], nothing, nothing, nothing], [0, 1, 1, 2])
    fitted = {
        "a": PatternCalibration(3, 2.0, scores=(0.1, 0.3, 0.6)),
        "any": PatternCalibration(3, 100.0, scores=(0.1, 0.3, 0.6)),
    }
    of_one, calibration = make_task("single_label", "xyz"), Calibration("single_label", fitted)
    found = calibration_of(cast(Any, Adding()), encoded, of_one, calibration, (True, False), 0.75)
    rank_3 = {"coverage": 2 / 3, "set_size": 1.0, "set_from": "a"}  # of three: 1 - 0.6 and more
    assert found == {
        "n": 3,
        "temperature": 2.0,
        "slope": 1.0,
        "shift": 0.0,
        "ece": pytest.approx((1 / 3 + 2 / 11) / 3),
        "ece_chance": pytest.approx(np.sqrt(2 / np.pi) * (np.sqrt(4 / 9) + np.sqrt(18 / 121)) / 3),
        "brier": pytest.approx((1 / 6 + 6 / 121 + (16 + 25 + 1) / 36) / 3),
        "nll": pytest.approx(-(np.log(2 / 3) + np.log(9 / 11) + np.log(1 / 6)) / 3),
        "ece_calibrated": pytest.approx(0.4 / 3),
        "ece_chance_calibrated": pytest.approx(np.sqrt(2 / np.pi) * (np.sqrt(0.5) + np.sqrt(0.24)) / 3),
        "brier_calibrated": pytest.approx((0.375 + 0.24 + 0.875) / 3),
        "nll_calibrated": pytest.approx(-(np.log(0.5) + np.log(0.6) + np.log(0.25)) / 3),
        "rises": pytest.approx(1 / 3),
        "rises_calibrated": 1.0,
        **rank_3,
    }
    by_default = calibration_of(cast(Any, Adding()), encoded, of_one, calibration, (True, False))
    wide = {"coverage": 1.0, "set_size": 3.0, "set_from": "none"}  # three samples cannot promise 0.9
    assert by_default == {**found, **wide}
    none = Calibration("single_label")
    assert calibration_of(cast(Any, Adding()), encoded, of_one, none, (True, False)) == {}
    lost = said(a[3:], [nothing], [2])
    assert calibration_of(cast(Any, Adding()), lost, of_one, calibration, (True, False)) == {}


def test_what_calibration_makes_of_a_pattern_of_several_labels() -> None:
    """At 0.5 the first label is found once of twice, at its threshold of 0.3 always; nobody has the second."""
    p = np.array([[0.6, 0.1], [0.4, 0.1], [0.2, 0.8], [0.9, 0.9]])
    a = np.log(p / (1 - p)).astype("float32").tolist()
    encoded = said(a, [[0.0, 0.0]] * 4, [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    misses = tuple(np.where(GRID <= 0.4, 0.0, 1.0).tolist())
    fitted = {"a": PatternCalibration(99, thresholds=(0.3, 0.85), misses=misses)}
    found = calibration_of(
        cast(Any, Adding()),
        encoded,
        make_task("multi_label", "xy"),
        Calibration("multi_label", fitted),
        (True, False),
    )
    assert {name: found[name] for name in ("f1_micro", "f1_micro_fitted")} == {
        "f1_micro": pytest.approx(2 / (2 + 1 + 1)),
        "f1_micro_fitted": 1.0,
    }
    assert found["f1_macro"] == pytest.approx(2 / 3)  # of the classes that occur
    assert found["f1_macro_fitted"] == 1.0
    assert not any(name.startswith("mean_average") or name == "map" for name in found)
    assert (found["set_from"], found["set_size"], found["coverage"]) == ("a", 1.0, 1.0)


def test_a_class_at_the_cut_belongs_to_the_set() -> None:
    """Two classes that are as probable as the only validation sample's: both are in the set."""
    fitted = Calibration("single_label", {"a": PatternCalibration(1, scores=(0.5,))})
    encoded = said([[0.0, 0.0]] * 2, [[0.0, 0.0]] * 2, [0, 1])
    found = calibration_of(
        cast(Any, Adding()), encoded, make_task("single_label", "xy"), fitted, (True, False), 0.5
    )
    assert (found["set_from"], found["set_size"], found["coverage"]) == ("a", 2.0, 1.0)


def test_what_is_impossible_costs_a_number() -> None:
    """A probability of 0 counts as float32's least normal number, 2 ** -126."""
    least = 126 * np.log(2)
    one = errors_of_confidence(np.array([[1.0, 0.0]]), np.array([1]), "single_label")
    several = errors_of_confidence(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]), "multi_label")
    assert (one["nll"], several["nll"]) == (pytest.approx(least), pytest.approx(least / 2))


def test_scores_of_several_labels_are_a_number_a_sample() -> None:
    p, target = np.array([[0.5, 0.25], [1.0, 0.5]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    brier_N, nll_N = proper_scores(p, target, "multi_label")
    assert brier_N.tolist() == [(0.25 + 0.0625) / 2, 0.25 / 2]
    assert nll_N.tolist() == pytest.approx([-np.log(0.5 * 0.75) / 2, -np.log(0.5) / 2])


def test_the_outer_bins_hold_what_is_certain_and_no_more() -> None:
    """0 lies with 0.05, not with 0.1; 1 with 0.95, not with 0.9."""
    p, target = np.array([[0.0, 0.05, 0.1], [1.0, 0.95, 0.9]]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    found = expected_calibration_error(p, target, "multi_label")
    assert found == pytest.approx((0.95 + 0.1 + 0.95 + 0.1) / 6)


def test_a_sample_whose_only_label_is_not_in_its_set_is_missed() -> None:
    assert reached_coverage(np.array([[False, True]]), np.array([[1.0, 0.0]])) == 0
