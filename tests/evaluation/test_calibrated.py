"""What evaluations say of confidence, against scikit-learn and by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss

from u2a.evaluation import rising
from u2a.evaluation.calibrated import error_by_chance, errors_of_confidence, expected_calibration_error
from u2a.evaluation.calibration import Calibration, PatternCalibration
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
