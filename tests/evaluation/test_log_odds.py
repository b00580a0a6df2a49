"""Confidence corrected by a line in log-odds: known lines are found, and nothing but confidence moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax

from u2a.evaluation.calibrated import expected_calibration_error
from u2a.evaluation.calibration_fit import fit_calibration
from u2a.evaluation.log_odds import NEUTRAL, corrected, fit_line


def drawn(slope: float, shift: float, multi_label: bool, n: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose outcomes follow a line of their log-odds."""
    rng = np.random.default_rng(0)
    if multi_label:
        p = rng.uniform(0.05, 0.95, (n, 2))
        return p, (rng.random((n, 2)) < expit(slope * logit(p) + shift)).astype(float)
    p = rng.dirichlet(np.ones(3) / 2, n)
    p = np.clip(p, 1e-3, None) / np.clip(p, 1e-3, None).sum(1, keepdims=True)
    right = rng.random(n) < expit(slope * logit(p.max(1)) + shift)
    return p, np.where(right, p.argmax(1), (p.argmax(1) + 1) % 3)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_line_that_outcomes_follow_is_found(multi_label: bool) -> None:
    data = drawn(0.6, 0.8, multi_label)
    assert fit_line([data], multi_label, 1e-6) == pytest.approx((0.6, 0.8), abs=0.1)
    assert fit_line([data], multi_label, 1e9, (2.0, -1.0)) == pytest.approx((2.0, -1.0), abs=1e-3)
    kind = "multi_label" if multi_label else "single_label"
    before, after = (
        expected_calibration_error(corrected(data[0], line, multi_label), data[1], kind)  # type: ignore[arg-type]
        for line in (NEUTRAL, (0.6, 0.8))
    )
    assert after < 0.03 < before


def test_a_line_stays_in_bounds_and_certainty_is_a_number() -> None:
    """Slopes from e^-2 to e^2, shifts from -4 to 4; probabilities of 0 and 1 count as a millionth less."""
    sure = np.array([[0.5, 0.5], [0.6, 0.4]] * 50)
    slope, shift = fit_line([(sure, np.zeros(100, int))], False, 1e-9)
    assert shift == pytest.approx(4)
    rising = np.array([[0.5 + x, 0.5 - x] for x in (0.01, 0.02, 0.1, 0.11)] * 50)
    slope, shift = fit_line([(rising, np.array([1, 1, 0, 0] * 50))], False, 1e-9)
    assert slope == pytest.approx(math.exp(2))
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    millionth = expit(0.5 * math.log(1e-6 / (1 - 1e-6)) + 0.3), expit(0.5 * math.log((1 - 1e-6) / 1e-6) + 0.3)
    np.testing.assert_allclose(corrected(certain, (0.5, 0.3), True), [millionth[::-1], millionth], rtol=1e-6)
    np.testing.assert_allclose(corrected(certain, (0.5, 0.3), False).max(1), millionth[1], rtol=1e-6)
    for multi_label, target in ((True, certain), (False, np.array([0, 1]))):
        assert np.isfinite(fit_line([(certain, target)], multi_label, 1.0)).all()
    assert corrected(certain, (1.0, 0.0), False) is certain  # nothing to correct


def test_only_confidence_moves() -> None:
    """The largest is moved by the line, the others by one factor; it stays the largest."""
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.36, 0.34, 0.3]])
    moved = corrected(p, (0.5, 0.3), multi_label=False)
    top = expit(0.5 * logit(0.7) + 0.3)
    np.testing.assert_allclose(moved[0], [top, (1 - top) * 2 / 3, (1 - top) / 3])
    sunk = corrected(p, (1.0, -2.0), multi_label=False)
    np.testing.assert_allclose(sunk[2, 0], sunk[2, 1], rtol=1e-6)  # no further than the second
    for found in (moved, sunk):
        np.testing.assert_allclose(found.sum(1), 1)
        assert found.argmax(1).tolist() == [0, 2, 0]
    np.testing.assert_allclose(corrected(p, (0.5, 0.3), True), expit(0.5 * logit(p) + 0.3))


def line_by_hand(parts: list[tuple[np.ndarray, np.ndarray]], prior: float, around: tuple[float, float]):
    """Of least negative log-likelihood, with `prior` samples' worth of distance from another line."""

    def loss(z: np.ndarray) -> float:
        right = [(expit(math.exp(z[0]) * logit(p.max(1)) + z[1]), p.argmax(1) == y) for p, y in parts]
        wrong = sum(-np.log(np.where(hit, q, 1 - q)).sum() for q, hit in right)
        return wrong + prior * ((z[0] - math.log(around[0])) ** 2 + (z[1] - around[1]) ** 2)

    z = minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8}).x
    return math.exp(z[0]), z[1]


def test_a_small_pattern_takes_the_line_of_those_with_as_many_modalities() -> None:
    """Too sure wherever something is missing: three samples of another pattern cannot say so alone."""
    whole, alone = drawn(1, 0, False, 300), drawn(0.4, -0.2, False, 300)
    given = {
        "a+b+c": (np.log(whole[0]), whole[1]),
        "a": (np.log(alone[0][3:]), alone[1][3:]),
        "b": (np.log(alone[0][:3]), alone[1][:3]),
    }
    present = {"a+b+c": (True, True, True), "a": (True, False, False), "b": (False, True, False)}
    found = fit_calibration(
        "abc", {present[name]: data for name, data in given.items()}, "single_label"
    ).patterns
    tempered = {
        name: (softmax(logits / found[name].temperature, axis=1), y) for name, (logits, y) in given.items()
    }
    of_one = [tempered["a"], tempered["b"]]
    wanted = {"any": line_by_hand([*tempered.values()], 5 * 3, (1.0, 0.0))}
    wanted["1 of 3"] = line_by_hand(of_one, 5 * 2, wanted["any"])
    wanted["b"] = line_by_hand([tempered["b"]], 5, wanted["1 of 3"])
    for name, line in wanted.items():
        assert (found[name].slope, found[name].shift) == pytest.approx(line, abs=2e-3), name
    assert abs(found["b"].shift - found["1 of 3"].shift) < abs(found["b"].shift - found["a+b+c"].shift)
