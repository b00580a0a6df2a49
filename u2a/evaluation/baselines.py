"""Baselines on the frozen encoders' tokens: what a trained model has to beat, pattern by pattern.

Shape suffixes: N samples, M modalities in recipe order, F features of the present modalities side by side, C
classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from u2a.evaluation.scenarios import Pattern

#: Strengths of the probes' regularisation that validation chooses among, strongest first.
STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
#: Worse than the best so far by this factor: weaker ones are not tried.
PATIENCE = 1.02
#: Copies of the training samples that the MLP sees, each with other modalities missing.
COPIES = 4


@dataclass(frozen=True)
class Features:
    """Frozen tokens of one split.

    Attributes:
        read_NF: one array a modality: class and mean token side by side; rows of absent modalities hold
        anything.
        present_NM: bool.
        target: ``[N]`` class numbers, or ``[N, C]`` of 0 and 1.
    """

    read_NF: tuple[np.ndarray, ...]
    present_NM: np.ndarray
    target: np.ndarray


def having(side: Features, pattern: Pattern) -> np.ndarray:
    """Who can have an availability pattern, bool ``[N]``."""
    return (side.present_NM | ~np.array(pattern)).all(1)


class Scaled:
    """Every modality standardised by the present training samples, divided by the root of its width."""

    def __init__(self, train: Features) -> None:
        self.scalers = [
            StandardScaler().fit(x[there]) for x, there in zip(train.read_NF, train.present_NM.T, strict=True)
        ]

    def join(self, side: Features, kept_NM: np.ndarray) -> np.ndarray:
        """All modalities side by side, zeros (their means) where they are not kept."""
        parts = [
            scaler.transform(x) / np.sqrt(x.shape[1]) * kept_NM[:, [m]]
            for m, (scaler, x) in enumerate(zip(self.scalers, side.read_NF, strict=True))
        ]
        return np.nan_to_num(np.concatenate(parts, 1))


def majority(train: Features, n: int, n_classes: int) -> np.ndarray:
    """The share of each class in training, for everybody: ``p_NC``."""
    if train.target.ndim == 1:
        share_C = np.bincount(train.target, minlength=n_classes) / len(train.target)
    else:
        share_C = train.target.mean(0)
    return np.tile(share_C, (n, 1))


def dedicated_probe(train: Features, validation: Features, test: Features, pattern: Pattern) -> np.ndarray:
    """Logistic regression on exactly these modalities, its strength chosen on validation: ``p_NC`` of `test`.

    Samples that lack one of them are left out of training and validation; where no training sample has them
    all, everybody is the majority.
    """
    if not having(train, pattern).any():
        return majority(train, len(test.target), int(train.target.max()) + 1)
    sides = []
    for side in (train, validation if having(validation, pattern).any() else train):
        rows = having(side, pattern)
        read = tuple(x[rows] for x, kept in zip(side.read_NF, pattern, strict=True) if kept)
        sides.append(Features(read, np.ones((rows.sum(), sum(pattern)), bool), side.target[rows]))
    read = tuple(x for x, kept in zip(test.read_NF, pattern, strict=True) if kept)
    there = Features(read, test.present_NM[:, np.array(pattern)], test.target)
    return _probe(sides[0], sides[1], there, [there.present_NM])[0]


def zero_filled_probe(
    train: Features, validation: Features, test: Features, patterns: Sequence[Pattern]
) -> list[np.ndarray]:
    """One logistic regression on everything, zeros for what a pattern lacks: ``p_NC`` a pattern."""
    return _probe(train, validation, test, [test.present_NM & np.array(p) for p in patterns])


def _probe(
    train: Features, validation: Features, test: Features, kept: Sequence[np.ndarray]
) -> list[np.ndarray]:
    scaled = Scaled(train)
    x_NF, x_val = scaled.join(train, train.present_NM), scaled.join(validation, validation.present_NM)
    best: tuple[float, list[LogisticRegression | None]] | None = None
    for strength in STRENGTHS:
        models = _fit(x_NF, train.target, strength)
        loss = _loss(_predict(models, x_val, train.target), validation.target)
        if best is not None and loss > best[0] * PATIENCE:
            break
        if best is None or loss < best[0]:
            best = loss, models
    assert best is not None
    return [_predict(best[1], scaled.join(test, kept_NM), train.target) for kept_NM in kept]


def _fit(x_NF: np.ndarray, target: np.ndarray, strength: float) -> list[LogisticRegression | None]:
    """One model, or one a class for multi-label tasks; None for a class that is all one value."""

    def fit(y: np.ndarray) -> LogisticRegression | None:
        if len(np.unique(y)) < 2:
            return None
        return LogisticRegression(C=1 / (strength * len(y)), max_iter=300).fit(x_NF, y)

    return [fit(target)] if target.ndim == 1 else [fit(y) for y in target.T]


def _predict(models: Sequence[LogisticRegression | None], x_NF: np.ndarray, target: np.ndarray) -> np.ndarray:
    if target.ndim == 1:
        (model,) = models
        p_NC = np.zeros((len(x_NF), target.max() + 1))
        if model is None:
            p_NC[:, target[0]] = 1
        else:
            p_NC[:, model.classes_] = model.predict_proba(x_NF)
        return p_NC
    columns = [
        np.full(len(x_NF), y[0]) if model is None else model.predict_proba(x_NF)[:, 1]
        for model, y in zip(models, target.T, strict=True)
    ]
    return np.stack(columns, 1)


def _loss(p_NC: np.ndarray, target: np.ndarray) -> float:
    p_NC = np.clip(p_NC, 1e-7, 1 - 1e-7)
    if target.ndim == 1:
        known = target < p_NC.shape[1]
        return float(
            -np.log(np.where(known, p_NC[np.arange(len(p_NC)), np.where(known, target, 0)], 1e-7)).mean()
        )
    return float(-(target * np.log(p_NC) + (1 - target) * np.log(1 - p_NC)).mean())


def dropout_mlp(
    train: Features, validation: Features, test: Features, patterns: Sequence[Pattern], seed: int = 0
) -> list[np.ndarray]:
    """A small MLP that saw training samples with modalities dropped at random: ``p_NC`` a pattern."""
    del validation  # its early stop holds out a part of the training samples itself
    rng = np.random.default_rng(seed)
    scaled = Scaled(train)
    copies = [train.present_NM]
    for _ in range(COPIES - 1):
        kept = train.present_NM & (rng.random(train.present_NM.shape) < 0.5)
        copies.append(np.where(kept.any(1, keepdims=True), kept, train.present_NM))
    x_NF = np.concatenate([scaled.join(train, kept_NM) for kept_NM in copies]) * 10
    y = np.concatenate([train.target] * COPIES)
    model = MLPClassifier((128,), alpha=1e-3, early_stopping=True, max_iter=100, random_state=seed).fit(x_NF, y)
    found = []
    for pattern in patterns:
        p_NC = model.predict_proba(scaled.join(test, test.present_NM & np.array(pattern)) * 10)
        if train.target.ndim == 1:
            wide = np.zeros((len(p_NC), train.target.max() + 1))
            wide[:, model.classes_] = p_NC
            p_NC = wide
        found.append(p_NC)
    return found
