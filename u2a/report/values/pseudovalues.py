"""Jackknife pseudo-values: a score as the mean of one value a sample, so that every interval is that of a mean.

With ``s`` the score of all N samples, ``s_i`` that without sample i, ``v_i = N s - (N - 1) s_i``. Their mean
is the score less its bias (Quenouille), their spread tells its error (Tukey). For a share, ``v_i`` is 1 or 0:
the sample itself. Every ``s_i`` of a metric of known form comes from counts and cumulative sums, in one pass.

Shape suffixes: N samples, C classes, G groups of equally confident samples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from u2a.errors import PluginError
from u2a.report.values.predictions import Predictions, class_form

Array = NDArray[np.float64]
#: Groups that are left out in turn of a metric without a form, which has to be computed anew each time.
GROUPS = 100


@dataclass(frozen=True)
class PseudoValues:
    """A score and what it rests on.

    Attributes:
        score: of all samples; NaN where it is undefined.
        value_N: float64; all NaN where the score is undefined.
        most: how many independent decisions the score rests on at most.
        share: whether the score is a share of the samples.
        undefined: left-out samples or groups without which the score is undefined; they tell nothing.
        unseen: variance of the score beyond what the values' spread shows, from classes of few samples.
    """

    score: float
    value_N: Array
    most: int
    share: bool = False
    undefined: int = 0
    unseen: float = 0.0


def of_score(predictions: Predictions) -> PseudoValues:
    """Pseudo-values of the headline score."""
    n, score = len(predictions), predictions.score()
    # A sample of one label is one decision; a label, guessed or true, is one of many in a sample.
    most = max(n, 2 * int(predictions.truth_NC.sum())) if predictions.multi_label else n
    if np.isnan(score) or n < 2:
        return PseudoValues(score, np.full(n, np.nan), most)
    if predictions.form == "hits":
        return PseudoValues(score, predictions.hits.double().numpy(), most, share=True)
    if predictions.form == "pooled_f1":
        hit_N, entry_N = (column_NC.sum(1, keepdims=True) for column_NC in _columns(predictions))
        return PseudoValues(score, _ratio(2 * hit_N, entry_N)[1][:, 0], most)
    if predictions.form:
        score_C, value_NC = _classes(predictions)
        unseen = _unseen(predictions, value_NC) if predictions.form == "class_precision" else 0.0
        return PseudoValues(score, _macro(score, score_C, value_NC), most, unseen=unseen)
    return _by_groups(predictions, score, most)


def on(usable_N: NDArray[np.bool_], predictions: Predictions) -> PseudoValues:
    """Of the usable samples alone; NaN stands in the places of the others."""
    found = of_score(predictions.at(torch.from_numpy(usable_N)))
    value_N = np.full(len(usable_N), np.nan)
    value_N[usable_N] = found.value_N
    return dataclasses.replace(found, value_N=value_N)


def of_classes(predictions: Predictions) -> tuple[Array, Array]:
    """Scores ``[C]`` and pseudo-values ``[N, C]`` of each class; a class of one sample tells no spread."""
    score_C, value_NC = _classes(predictions)
    return score_C, np.where(np.isnan(value_NC), score_C, value_NC)


def _classes(predictions: Predictions) -> tuple[Array, Array]:
    """As `of_classes`, with NaN for a sample that is the only one of its class."""
    truth_NC = predictions.truth_NC.numpy()
    form = class_form(predictions.task, predictions.metric)
    if form == "class_precision":
        columns = zip(predictions.probability_NC.numpy().T, truth_NC.T, strict=True)
        found = [_average_precision(p_N, truth_N) for p_N, truth_N in columns]
        return np.array([score for score, _ in found]), np.stack([value_N for _, value_N in found], 1)
    hit_NC, entry_NC = _columns(predictions)
    score_C, value_NC = (
        _ratio(hit_NC, truth_NC.astype(float)) if form == "hits" else _ratio(2 * hit_NC, entry_NC)
    )
    alone_NC = truth_NC & (truth_NC.sum(0) == 1)
    occurs_C = truth_NC.any(0)
    return np.where(occurs_C, score_C, np.nan), np.where(alone_NC | ~occurs_C, np.nan, value_NC)


def _columns(predictions: Predictions) -> tuple[Array, Array]:
    """Of each sample and class: guessed rightly; guessed plus true (0, 1 or 2)."""
    guess_NC, truth_NC = predictions.guess_NC.numpy(), predictions.truth_NC.numpy()
    return (guess_NC & truth_NC).astype(float), guess_NC.astype(float) + truth_NC


def _ratio(above_NC: Array, below_NC: Array) -> tuple[Array, Array]:
    """Score and pseudo-values of a ratio of two sums; 0 where nothing is below."""
    n, above_C, below_C = len(above_NC), above_NC.sum(0), below_NC.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        score_C = np.where(below_C > 0, above_C / below_C, 0)
        rest_NC = below_C - below_NC
        without_NC = np.where(rest_NC > 0, (above_C - above_NC) / rest_NC, 0)
    return score_C, n * score_C - (n - 1) * without_NC


def _macro(score: float, score_C: Array, value_NC: Array) -> Array:
    """Of the mean over classes that occur.

    The only sample of a class takes the class with it. It tells nothing of that class's spread, so the class
    enters as the mean of the others do, with an error as large as its distance from them.
    """
    n, occurs_C = len(value_NC), ~np.isnan(score_C)
    alone_C = score_C - n * (score_C - score)
    return np.where(np.isnan(value_NC), alone_C, value_NC)[:, occurs_C].mean(1)


def _unseen(predictions: Predictions, value_NC: Array) -> float:
    """Variance of a mean average precision that its classes of few samples do not show.

    A class whose four samples all rank first has values without any spread, and yet could have been another.
    So each class adds what two more of its samples, one ranked first and one last, would: with them its score
    is p, and p (1 - p) / n the most that the variance of n samples' precision can be, of which they are 2 in
    n + 1. This vanishes with the square of n.
    """
    n_C = predictions.truth_NC.sum(0).double().numpy()
    n_K, value_NK = n_C[n_C > 1], value_NC[:, n_C > 1]
    p_K = (n_K * np.clip(value_NK.mean(0), 0, 1) + 1) / (n_K + 2)
    added_K = p_K * (1 - p_K) / n_K * 2 / (n_K + 1)
    return float(added_K.sum() / max(1, (n_C > 0).sum()) ** 2)


def _average_precision(p_N: NDArray[np.float32], truth_N: NDArray[np.bool_]) -> tuple[float, Array]:
    """Average precision and its pseudo-values: cumulative sums over groups of equal confidence.

    Leaving out a sample changes the precision at its own group and at all that are less confident.
    """
    n, order = len(p_N), np.argsort(-p_N, kind="stable")
    sorted_N = p_N[order]
    first_N = np.r_[True, sorted_N[1:] != sorted_N[:-1]]
    group_N = np.cumsum(first_N) - 1
    true_G = np.bincount(group_N, truth_N[order].astype(float))
    hits_G, seen_G, total = true_G.cumsum(), np.bincount(group_N).cumsum().astype(float), true_G.sum()
    if not total:
        return np.nan, np.full(n, np.nan)
    fewer_G = np.maximum(seen_G - 1, 1)  # where nobody is left, nothing is true either
    part_G = true_G * hits_G / seen_G
    area, kept_G = part_G.sum(), part_G.sum() - part_G - _after(part_G) + _after(true_G * hits_G / fewer_G)
    false_G = (kept_G + true_G * hits_G / fewer_G) / total
    true_left = np.maximum(total - 1, 1)
    true_out_G = (kept_G - _after(true_G / fewer_G) + (true_G - 1) * (hits_G - 1) / fewer_G) / true_left
    without_N = np.empty(n)
    without_N[order] = np.where(truth_N[order], true_out_G[group_N], false_G[group_N])
    score = float(area / total)
    value_N = n * score - (n - 1) * without_N
    return score, np.where(truth_N, np.nan, value_N) if total == 1 else value_N


def _after(value_G: Array) -> Array:
    """The sum over all later groups."""
    return np.r_[value_G[::-1].cumsum()[::-1][1:], 0.0]


def _by_groups(predictions: Predictions, score: float, most: int) -> PseudoValues:
    """Of whatever metric: groups of samples are left out in turn, and scaled to stand for their samples."""
    n = len(predictions)
    n_groups = min(n, GROUPS)
    group_N = np.arange(n) % n_groups
    without_G = np.array(
        [_score_or_nan(predictions.at(torch.from_numpy(group_N != g))) for g in range(n_groups)]
    )
    value_G = n_groups * score - (n_groups - 1) * without_G
    undefined = int(np.isnan(value_G).sum())
    value_G = np.where(np.isnan(value_G), score, value_G)
    center = value_G.mean()
    value_N = center + (value_G - center)[group_N] * np.sqrt(n / n_groups)
    return PseudoValues(score, value_N, most, undefined=undefined)


def _score_or_nan(predictions: Predictions) -> float:
    try:
        return predictions.score()
    except PluginError:
        return np.nan
