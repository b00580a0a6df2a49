"""Known truths: classifiers whose population score is known or can be drawn, and what their seeds differ by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from u2a.plugins.loading import registry
from u2a.recipe.task import TaskSection
from u2a.report.values.patterns import PatternValues
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues

Rows = Iterator[tuple[str, ...]]

Array = NDArray[np.float64]
Draw = np.random.Generator
POPULATION = 200_000
RARE = np.array([0.5, 0.25, 0.12, 0.07, 0.04, 0.02])
TWELVE = np.geomspace(0.3, 0.01, 12)
LABELS = np.geomspace(0.5, 0.03, 19)
#: A latent step that moves an accuracy of 80 % by one.
PER_STEP = 0.28


def single_label(draw: Draw, n: int, right: float, shares: Array) -> tuple[Array, Array]:
    """Scores and truths of a classifier that knows the class with that probability, and else guesses."""
    C = len(shares)
    truth_N = draw.choice(C, n, p=shares / shares.sum())
    guess_N = np.where(draw.random(n) < right, truth_N, draw.choice(C, n, p=shares / shares.sum()))
    return draw.normal(size=(n, C)) + 4 * np.eye(C)[guess_N], np.eye(C)[truth_N]


def graded(draw: Draw, n: int, gap: float, shares: Array) -> tuple[Array, Array]:
    """The best possible scores of classes whose features are `gap` standard deviations from each other's."""
    p_C, C = shares / shares.sum(), len(shares)
    truth_NC = np.eye(C)[draw.choice(C, n, p=p_C)]
    return gap * (draw.normal(size=(n, C)) + gap * truth_NC) + np.log(p_C), truth_NC


def multi_label(draw: Draw, n: int, gap: float, shares: Array) -> tuple[Array, Array]:
    """Labels whose score is higher by `gap` standard deviations; half of a sample's noise is common to them."""
    truth_NC = draw.random((n, len(shares))) < shares
    noise_NC = draw.normal(size=truth_NC.shape) + 0.5 * draw.normal(size=(n, 1))
    return gap * (truth_NC - 0.6) + noise_NC, truth_NC.astype(float)


def predicted(kind: str, metric: str, score_NC: Array, truth_NC: Array) -> Predictions:
    if kind == "multi":
        p_NC, guess_NC = 1 / (1 + np.exp(-score_NC)), score_NC > 0
    else:
        e_NC = np.exp(score_NC - score_NC.max(1, keepdims=True))
        p_NC, guess_NC = e_NC / e_NC.sum(1, keepdims=True), score_NC == score_NC.max(1, keepdims=True)
    p = torch.tensor(p_NC, dtype=torch.float32)
    task = task_of(f"{kind}_label", p.shape[1])
    return Predictions(p, torch.tensor(guess_NC), torch.tensor(truth_NC > 0), task, metric)


@cache
def task_of(kind: str, n_classes: int) -> TaskSection:
    """A task of so many classes, with the installed metrics."""
    document = {"kind": kind, "classes": tuple(f"c{c}" for c in range(n_classes))}
    return TaskSection.model_validate(document, context={"plugins": registry()})


def hits(draw: Draw, n: int, columns: int, agree: float = 0.8, steps: ArrayLike = ((0.0,),)) -> Array:
    """``[S, N, K]`` right answers of S seeds in K patterns, all 80 % right; they agree on easy samples."""
    ease_N = draw.normal(size=n) * np.sqrt(agree)
    step_SK = np.asarray(steps, dtype=float)
    own = draw.normal(size=(len(step_SK), n, columns)) * np.sqrt(1 - agree)
    return (ease_N[:, None] + own + step_SK[:, None] / PER_STEP > -0.8416).astype(float)


def share(value_N: Array) -> PseudoValues:
    return PseudoValues(float(value_N.mean()), value_N, len(value_N), share=True)


def patterns_of(hit_NK: Array) -> list[PatternValues]:
    """A complete pattern and the others, of four modalities."""
    found = []
    for k, value_N in enumerate(hit_NK.T):
        present = tuple(bool((15 - k) >> m & 1) for m in range(4))
        missing = tuple(f"m{m}" for m in range(4) if not present[m])
        own, beside = share(value_N), share(hit_NK[:, 0])
        found.append(PatternValues(present, missing, len(value_N), 0, {"accuracy": own.score}, own, beside))
    return found


def percent(values: Sequence[bool]) -> str:
    return f"{100 * np.mean(values):.1f} %"
