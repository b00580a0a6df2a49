"""Baselines against scikit-learn, and where their training samples have gaps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from u2a.evaluation import baselines, kept_tokens
from u2a.evaluation.baselines import Features
from u2a.evaluation.probes import STRENGTHS, best_probe


def side(n: int, seed: int, *, multi_label: bool = False, C: int = 4, width: int = 6) -> Features:
    """Two modalities whose features tell the class; the second by a second opinion."""
    rng = np.random.default_rng(seed)
    label = rng.integers(C, size=n)
    centres = np.random.default_rng(7).normal(size=(2, C, width))
    read = tuple((centres[m][label] + rng.normal(size=(n, width))).astype(np.float32) for m in range(2))
    target = np.eye(C, dtype=np.float32)[label] if multi_label else label
    return Features(read, np.ones((n, 2), bool), target)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("strength", [0.3, 0.003])
def test_a_probe_is_scikit_learns_logistic_regression(multi_label: bool, strength: float) -> None:
    one = side(150, 0, multi_label=multi_label)
    x = one.read_NF[0]
    probe = best_probe(x, one.target, x, one.target, 4, strengths=[strength])

    def reference(y: np.ndarray) -> np.ndarray:
        return LogisticRegression(C=1 / (strength * len(y)), max_iter=5000, tol=1e-8).fit(x, y).predict_proba(x)

    if multi_label:
        wanted = np.stack([reference(y)[:, 1] for y in one.target.T], 1)
    else:
        wanted = reference(one.target)
    assert np.abs(probe(x) - wanted).max() < 5e-3


def test_the_strength_is_that_of_least_validation_loss() -> None:
    train, judged = side(40, 0), side(300, 1)
    x, y = train.read_NF[0], judged.read_NF[0]
    p = best_probe(x, train.target, y, judged.target, 4)(y)
    loss = -np.log(p[np.arange(len(y)), judged.target]).mean()
    alone = []
    for strength in STRENGTHS:
        fit = LogisticRegression(C=1 / (strength * len(x)), max_iter=5000).fit(x, train.target)
        alone.append(-np.log(fit.predict_proba(y)[np.arange(len(y)), judged.target]).mean())
    assert loss == pytest.approx(min(alone), rel=0.01)


def test_a_class_or_modality_that_no_training_sample_has_breaks_nothing() -> None:
    train, judged, test = side(30, 0), side(20, 1), side(20, 2)
    judged.target[0] = 19  # of a class that is not among the training samples
    few = np.minimum(train.target, 2)
    gone = Features(train.read_NF, train.present_NM & np.array([True, False]), few)
    found = baselines.dropout_mlp(gone, judged, test, [(True, True), (True, False)])
    probes = baselines.zero_filled_probe(gone, judged, test, [(True, True)])
    for p_NC in (*found, *probes):
        assert p_NC.shape == (20, 20)
        assert np.isfinite(p_NC).all()
    alone = baselines.dedicated_probe(gone, judged, test, (True, False))
    assert (alone.argmax(1) == np.minimum(test.target, 2)).mean() > 0.5


@pytest.mark.parametrize("multi_label", [False, True])
def test_what_training_says_nothing_of_chooses_no_baseline(multi_label: bool) -> None:
    """Validation samples of a class, and labels, that no training sample has."""
    train, judged, test = (side(n, k, multi_label=multi_label) for k, n in enumerate((60, 90, 20)))
    kept_N = np.arange(90) % 3 > 0
    if multi_label:
        train.target[:, 1] = 0
        judged.target[:, 1] = 0
        odd, wanted = replace(judged, target=judged.target.copy()), judged
        odd.target[~kept_N, 1] = 1
    else:
        train.target[train.target == 1] = 2
        judged.target[judged.target == 1] = 2
        odd = replace(judged, target=np.where(kept_N, judged.target, 1))
        wanted = Features(
            tuple(x[kept_N] for x in judged.read_NF), judged.present_NM[kept_N], judged.target[kept_N]
        )
    every = [(True, True), (True, False)]
    mine, others = (
        [
            baselines.dedicated_probe(train, judged_by, test, (True, False)),
            *baselines.zero_filled_probe(train, judged_by, test, every),
            *baselines.dropout_mlp(train, judged_by, test, every),
        ]
        for judged_by in (odd, wanted)
    )
    assert all(np.array_equal(one, other) for one, other in zip(mine, others, strict=True))


def test_the_mlp_uses_what_is_there() -> None:
    train, judged, test = side(200, 0), side(80, 1), side(200, 2)
    patterns = [(True, True), (True, False), (False, True)]
    scores = [
        (p_NC.argmax(1) == test.target).mean() for p_NC in baselines.dropout_mlp(train, judged, test, patterns)
    ]
    assert scores[0] > scores[1] - 0.02
    assert min(scores) > 0.6


def around(n: int, seed: int, strengths: tuple[float, float], noise: int = 0) -> Features:
    """Three classes, each at its own axis, so far from the others; `noise` columns more say nothing."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    centres = np.eye(3)[label]
    first = np.concatenate([centres * strengths[0] + rng.normal(size=(n, 3)), rng.normal(size=(n, noise))], 1)
    second = centres * strengths[1] + rng.normal(size=(n, 3))
    return Features((first.astype(np.float32), second.astype(np.float32)), np.ones((n, 2), bool), label)


def loss_of(p_NC: np.ndarray, side: Features) -> float:
    return float(-np.log(p_NC[np.arange(len(side.target)), side.target]).mean())


def test_the_mlp_has_learned_with_gaps() -> None:
    """Where one modality says all, it has learned the other too: as well as one that sees nothing else."""
    train, judged = around(400, 0, (3, 12)), around(300, 1, (3, 12))
    first = baselines.dropout_mlp(train, judged, judged, [(True, True), (True, False), (False, True)])[1]
    alone = baselines.dedicated_probe(train, judged, judged, (True, False))
    assert loss_of(first, judged) < 1.25 * loss_of(alone, judged)


def test_the_mlps_best_epoch_over_all_patterns_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples and much noise: first everything gets better, then the first modality alone worse."""
    train, judged = around(60, 0, (1, 4), noise=20), around(200, 1, (1, 4), noise=20)
    patterns = [(True, True), (True, False), (False, True)]
    monkeypatch.setattr(baselines, "EPOCHS_STALE", 1000)
    losses = []
    for epochs in (1, 3, 5, 10, 40):
        monkeypatch.setattr(baselines, "EPOCHS", epochs)
        found = baselines.dropout_mlp(train, judged, judged, patterns)
        losses.append(sum(loss_of(p_NC, judged) for p_NC in found))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.6 * losses[0]


def with_gaps(one: Features, nonsense: float) -> Features:
    """Every third sample lacks the first modality; nonsense stands in its place."""
    lacks = np.arange(len(one.target)) % 3 == 0
    first = np.where(lacks[:, None], np.float32(nonsense), one.read_NF[0])
    return Features((first, one.read_NF[1]), np.stack([~lacks, np.ones_like(lacks)], 1), one.target)


def test_what_stands_in_the_place_of_an_absent_modality_changes_nothing() -> None:
    train, val, test = (side(n, seed) for n, seed in ((90, 0), (60, 1), (30, 2)))
    both, first, second = (True, True), (True, False), (False, True)
    found = []
    for nonsense in (1e4, -7.0):
        gaps = [with_gaps(one, nonsense) for one in (train, val, test)]
        scaled = baselines.Scaled(gaps[0])
        there = gaps[0].present_NM[:, 0]
        own = train.read_NF[0][there]
        by_hand = (own - own.mean(0)) / own.std(0) / 6**0.5  # of the present ones alone
        joined = scaled.join(gaps[0], gaps[0].present_NM)
        np.testing.assert_allclose(joined[there][:, :6], by_hand, atol=1e-4)
        assert not joined[~there][:, :6].any()
        filled = baselines.zero_filled_probe(*gaps, [both, first, second])
        found.append([*filled, baselines.dedicated_probe(*gaps, both)])
        have = gaps[2].present_NM[:, 0]
        assert np.abs(filled[0] - filled[2])[have].max() > 0.1  # what a pattern lacks is not seen
        np.testing.assert_allclose(filled[0][~have], filled[2][~have], atol=1e-6)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one[have], other[have], atol=1e-4)


def test_kept_tokens_are_those_of_the_same_data_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = side(30, 0)
    kept_tokens.keep(tmp_path, "train", one, "this data")
    found = kept_tokens.kept(tmp_path, "train", "this data")
    assert found is not None
    assert all(np.array_equal(a, b) for a, b in zip(found.read_NF, one.read_NF, strict=True))
    assert kept_tokens.kept(tmp_path, "train", "other data") is None
    assert kept_tokens.kept(tmp_path, "val", "this data") is None
    (tmp_path / "frozen-train.safetensors").write_bytes(b"half")
    assert kept_tokens.kept(tmp_path, "train", "this data") is None
    monkeypatch.setattr(kept_tokens, "MOST_BYTES", 100)
    kept_tokens.keep(tmp_path, "val", one, "this data")
    assert kept_tokens.kept(tmp_path, "val", "this data") is None
