"""Baselines where no, or a handful of, validation samples have what a pattern needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from u2a.evaluation import baselines
from u2a.evaluation.baselines import Features
from u2a.evaluation.probes import STRENGTHS

WIDTH = 30
BOTH, FIRST, SECOND = (True, True), (True, False), (False, True)
#: Of 200 training samples; the rest is fitted on for the choice.
HELD = torch.randperm(200, generator=torch.Generator().manual_seed(0))[:40].numpy()


def drawn(n: int, seed: int, wrong: float = 0.4, C: int = 4) -> Features:
    """Two modalities that tell the class to some degree, and labels many of which are wrong."""
    rng, centres = np.random.default_rng(seed), np.random.default_rng(7).normal(size=(2, C, WIDTH))
    label = rng.integers(C, size=n)
    read = tuple((0.5 * centres[m][label] + rng.normal(size=(n, WIDTH))).astype(np.float32) for m in range(2))
    noisy = np.where(rng.random(n) < wrong, rng.integers(C, size=n), label)
    return Features(read, np.ones((n, 2), bool), noisy)


def with_first(side: Features, few: int) -> Features:
    """Only so many of the samples have the first modality."""
    present_NM = side.present_NM.copy()
    present_NM[few:, 0] = False
    return replace(side, present_NM=present_NM)


def by_hand(x: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """scikit-learn: a fifth chooses the strength, then all are fitted."""

    def told(rows: np.ndarray, strength: float, z: np.ndarray) -> np.ndarray:
        scaler = StandardScaler().fit(x[rows])
        model = LogisticRegression(C=1 / (strength * rows.sum() * WIDTH), max_iter=3000, tol=1e-7)
        return model.fit(scaler.transform(x[rows]), y[rows]).predict_proba(scaler.transform(z))

    held = np.isin(np.arange(len(y)), HELD)
    losses = {s: log_loss(y[held], told(~held, s, x[held])) for s in STRENGTHS}
    return told(np.ones_like(held), min(losses, key=losses.__getitem__), asked)


@pytest.mark.parametrize("few", [0, 3, 29])
def test_a_fifth_of_the_training_samples_chooses_a_probe_and_all_are_fitted(few: int) -> None:
    train, test = drawn(200, 0), drawn(500, 2, wrong=0)
    mine = baselines.dedicated_probe(train, with_first(drawn(100, 1), few), test, FIRST)
    x, z = train.read_NF[0], test.read_NF[0]
    np.testing.assert_allclose(mine, by_hand(x, train.target, z), atol=1e-2)
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = GridSearchCV(line, {"logisticregression__C": np.logspace(-5, 1, 13)}, scoring="neg_log_loss")
    reference = folds.fit(x, train.target).predict(z) == test.target
    assert (mine.argmax(1) == test.target).mean() > reference.mean() - 0.03


def test_thirty_validation_samples_of_a_pattern_choose_its_probe() -> None:
    train, judged, test = drawn(200, 0), drawn(100, 1), drawn(50, 2)
    mine = baselines.dedicated_probe(train, with_first(judged, 30), test, FIRST)
    np.testing.assert_array_equal(
        mine, baselines.dedicated_probe(train, judged.rows(np.arange(30)), test, FIRST)
    )
    assert np.abs(mine - baselines.dedicated_probe(train, with_first(judged, 29), test, FIRST)).max() > 0.01


def answers(train: Features, judged: Features, test: Features) -> list[np.ndarray]:
    """Of the probe with zeros and of the MLP, a pattern each."""
    every = [BOTH, FIRST, SECOND]
    fits = baselines.zero_filled_probe, baselines.dropout_mlp
    return [p_NC for fit in fits for p_NC in fit(train, judged, test, every)]


def test_what_all_patterns_share_is_not_chosen_without_one_of_them() -> None:
    """Validation without the first modality, with a handful of it, or with both but never in one sample."""
    train, judged, test = drawn(200, 0), drawn(100, 1), drawn(50, 2)
    apart = replace(judged, present_NM=np.eye(2, dtype=bool)[np.arange(100) % 2])
    wanted = answers(train, judged.rows(np.arange(0)), test)
    for lacking in (with_first(judged, 0), with_first(judged, 29), apart):
        for one, other in zip(answers(train, lacking, test), wanted, strict=True):
            np.testing.assert_array_equal(one, other)
    x, z = (np.concatenate(side.read_NF, 1) for side in (train, test))
    np.testing.assert_allclose(wanted[0], by_hand(x, train.target, z), atol=1e-2)


def test_what_was_held_out_is_fitted_in_the_end() -> None:
    """Samples of one class are all among those that are held out for the choice."""
    train = drawn(200, 0, wrong=0)
    train.target[:] %= 3
    train.target[HELD[:20]] = 3
    for x in train.read_NF:
        x[HELD[:20]] += 9
    probe, *_, mlp = answers(train, train.rows(np.arange(0)), train)
    for p_NC in (probe, mlp):
        assert (p_NC[HELD[:20]].argmax(1) == 3).mean() > 0.8
