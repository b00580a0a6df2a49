"""Baselines on the frozen encoders' tokens: what a trained model has to beat, pattern by pattern.

Shape suffixes: N samples, M modalities in recipe order, F features of the present modalities side by side, C
classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from u2a.evaluation.probes import best_probe
from u2a.evaluation.scenarios import Pattern
from u2a.evaluation.time_limit import UNLIMITED, TimeLimit
from u2a.method.head_start.frozen import for_joint_choices, teachable

#: The MLP's epochs at most, and after how many without a lower validation loss it ends.
EPOCHS, EPOCHS_STALE = 60, 6
#: An epoch sees so many samples at least: few training samples come in several copies, each with other gaps.
LEAST = 2000
#: The seed of what is held out of the training samples where too few others judge.
DRAW = 0
#: How much larger its inputs are than the probes', whose mean square is 1 / F.
WIDE = 10


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

    def teachable(self, train: Features) -> Features:
        """As validation of what is fitted on `train`: see `teachable`."""
        targets = torch.from_numpy(self.target), torch.from_numpy(train.target)
        rows_N, target = (found.numpy() for found in teachable(*targets))
        return replace(self, target=target).rows(rows_N)

    def rows(self, chosen_N: np.ndarray | torch.Tensor) -> Features:
        """The chosen samples only (bool or places)."""
        rows = np.asarray(chosen_N)
        return Features(tuple(x[rows] for x in self.read_NF), self.present_NM[rows], self.target[rows])


def having(side: Features, pattern: Pattern) -> np.ndarray:
    """Who can have an availability pattern, bool ``[N]``."""
    return (side.present_NM | ~np.array(pattern)).all(1)


class Scaled:
    """Every modality standardised by the present training samples, divided by the root of its width."""

    def __init__(self, train: Features) -> None:
        columns = zip(train.read_NF, train.present_NM.T, strict=True)
        # a modality that no training sample has is nothing to anybody
        self.scalers = [StandardScaler().fit(x[there] if there.any() else 0 * x) for x, there in columns]

    def join(self, side: Features, kept_NM: np.ndarray) -> np.ndarray:
        """All modalities side by side, zeros (their means) where they are not kept."""
        parts = [
            scaler.transform(x) / float(x.shape[1]) ** 0.5 * kept_NM[:, [m]]
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


def dedicated_probe(
    train: Features, validation: Features, test: Features, pattern: Pattern, limit: TimeLimit = UNLIMITED
) -> np.ndarray:
    """Logistic regression on exactly these modalities, its strength chosen on validation: ``p_NC`` of `test`.

    Samples that lack one of them are left out of training and validation; where no training sample has them
    all, everybody is the majority.
    """
    if not having(train, pattern).any():
        return majority(train, len(test.target), int(train.target.max()) + 1)
    sides = [side.rows(having(side, pattern)) for side in (train, validation)]
    fitted, judged, asked = (_only(side, pattern) for side in (*sides, test))
    return _probe(fitted, judged, asked, [asked.present_NM], limit)[0]


def _only(side: Features, pattern: Pattern) -> Features:
    """The modalities of the pattern."""
    read = tuple(x for x, kept in zip(side.read_NF, pattern, strict=True) if kept)
    return Features(read, side.present_NM[:, np.array(pattern)], side.target)


def zero_filled_probe(
    train: Features,
    validation: Features,
    test: Features,
    patterns: Sequence[Pattern],
    limit: TimeLimit = UNLIMITED,
) -> list[np.ndarray]:
    """One logistic regression on everything, zeros for what a pattern lacks: ``p_NC`` a pattern."""
    return _probe(train, validation, test, [test.present_NM & np.array(p) for p in patterns], limit)


def _probe(
    train: Features, validation: Features, test: Features, kept: Sequence[np.ndarray], limit: TimeLimit
) -> list[np.ndarray]:
    limit.begin()
    fit_on, judged = for_joint_choices(train, validation, DRAW)
    scaled, n_classes, again = Scaled(fit_on), _n_classes(train, validation), fit_on is not train
    x_NF, x_val = scaled.join(fit_on, fit_on.present_NM), scaled.join(judged, judged.present_NM)
    probe = best_probe(x_NF, fit_on.target, x_val, judged.target, n_classes, limit=limit, fits_left=int(again))
    if again:
        scaled, y = Scaled(train), train.target
        x_NF = scaled.join(train, train.present_NM)
        probe = best_probe(x_NF, y, x_NF, y, n_classes, [probe.strength], limit, start=probe)
    return [probe(scaled.join(test, kept_NM)) for kept_NM in kept]


def _n_classes(*sides: Features) -> int:
    """C, or one more than the largest class number that occurs."""
    target = sides[0].target
    return target.shape[1] if target.ndim == 2 else 1 + max(int(side.target.max(initial=0)) for side in sides)


def dropout_mlp(
    train: Features,
    validation: Features,
    test: Features,
    patterns: Sequence[Pattern],
    seed: int = 0,
    limit: TimeLimit = UNLIMITED,
) -> list[np.ndarray]:
    """A small MLP that sees other modalities dropped in every epoch: ``p_NC`` a pattern.

    It ends where the validation loss, averaged over the patterns, falls no longer; the best epoch counts.
    """
    limit.begin()
    classes = np.arange(_n_classes(train, validation))
    fit_on, judged = for_joint_choices(train, validation, DRAW)
    again = fit_on is not train
    limit.part(1 + again)
    scaled, (model, epochs) = Scaled(fit_on), _best_epoch(fit_on, judged, patterns, classes, seed, limit)
    if again:
        limit.part(1)
        scaled = Scaled(train)
        for epoch, later in enumerate(_epochs(train, scaled, classes, seed), start=1):
            model = later
            if epoch == epochs or limit.up():
                break
    return [model.predict_proba(WIDE * scaled.join(test, test.present_NM & np.array(p))) for p in patterns]


def _best_epoch(
    train: Features,
    judged: Features,
    patterns: Sequence[Pattern],
    classes: np.ndarray,
    seed: int,
    limit: TimeLimit,
) -> tuple[MLPClassifier, int]:
    """The MLP of the epoch with the least loss on `judged`, and which epoch that is, from 1."""
    scaled = Scaled(train)
    inputs = [(WIDE * scaled.join(judged, judged.present_NM & np.array(p)), p) for p in patterns]
    best: tuple[float, MLPClassifier, int] | None = None
    for epoch, model in enumerate(_epochs(train, scaled, classes, seed), start=1):
        losses = [_loss(model.predict_proba(x_NF), judged, p) for x_NF, p in inputs]
        known = [loss for loss in losses if loss is not None]
        loss = sum(known) / max(1, len(known))
        if best is None or loss < best[0]:
            best = loss, copy.deepcopy(model), epoch
        if epoch - best[2] >= EPOCHS_STALE or limit.up():
            break
    assert best is not None
    return best[1:]


def _epochs(train: Features, scaled: Scaled, classes: np.ndarray, seed: int) -> Iterator[MLPClassifier]:
    """The MLP after each epoch, one and the same."""
    rng, model = np.random.default_rng(seed), MLPClassifier((128,), alpha=1e-3, random_state=seed)
    seen = train.rows(np.repeat(np.arange(len(train.target)), max(1, LEAST // len(train.target))))
    for _ in range(EPOCHS):
        kept_NM = seen.present_NM & (rng.random(seen.present_NM.shape) < 0.5)
        loses_N1 = kept_NM.any(1, keepdims=True) & (rng.random((len(kept_NM), 1)) < 0.75)
        x_NF = WIDE * scaled.join(seen, np.where(loses_N1, kept_NM, seen.present_NM))
        model.partial_fit(x_NF, seen.target, classes=classes)
        yield model


def _loss(p_NC: np.ndarray, side: Features, pattern: Pattern) -> float | None:
    """The mean task loss of the samples that can have the pattern; None if none can."""
    rows = having(side, pattern)
    if not rows.any():
        return None
    p_NC, target = np.clip(p_NC[rows], 1e-7, 1 - 1e-7), side.target[rows]
    if target.ndim == 1:
        return float(-np.log(p_NC[np.arange(len(target)), target]).mean())
    return float(-(target * np.log(p_NC) + (1 - target) * np.log(1 - p_NC)).mean())
