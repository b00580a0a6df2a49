"""Predictions of one scenario, and the headline score over all samples, a class, or many resamples at once.

Shape suffixes: N samples, C classes, R weightings of the samples.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from u2a.errors import PluginError
from u2a.evaluation.metrics import compute_metric, probabilities
from u2a.recipe.sections import TaskSection

#: How the report calls each headline metric that it can score on many resamples at once, and the same of a
#: single class.
METRICS = {
    "accuracy": ("accuracy", "recall of the class"),
    "f1_macro": ("macro F1", "F1 of the class"),
    "f1_micro": ("micro F1", "F1 of the class"),
    "map": ("mean average precision", "average precision of the class"),
}


def metric_labels(task: TaskSection) -> tuple[str, str]:
    """Labels as in `METRICS`; another plugin's metric goes by its name and has accuracy's or F1's classes."""
    if task.headline in METRICS:
        return METRICS[task.headline]
    return task.headline, METRICS["f1_macro" if task.kind == "multi_label" else "accuracy"][1]


@dataclass(frozen=True)
class Predictions:
    """What the scores of N samples are made of.

    Attributes:
        probability_NC: float32; guess_NC: bool, the predicted classes; truth_NC: bool.
        metric: the task's headline metric; multi_label: the task's kind.
    """

    probability_NC: Tensor
    guess_NC: Tensor
    truth_NC: Tensor
    metric: str
    multi_label: bool

    @classmethod
    def of(cls, logits_NC: Tensor, target: Tensor, task: TaskSection) -> Predictions:
        """From logits and a split's target, as `u2a.evaluation.metrics.scores` reads them."""
        p_NC, multi_label = probabilities(logits_NC, task), task.kind == "multi_label"
        if multi_label:
            guess_NC, truth_NC = p_NC > 0.5, target.bool()
        else:
            classes_C = torch.arange(p_NC.shape[1])
            guess_NC = p_NC.argmax(1)[:, None] == classes_C
            truth_NC = target[:, None] == classes_C
        return cls(p_NC, guess_NC, truth_NC, task.headline, multi_label)

    def __len__(self) -> int:
        return len(self.truth_NC)

    def at(self, chosen_N: Tensor) -> Predictions:
        """Those samples alone."""
        if bool(chosen_N.all()):
            return self
        return dataclasses.replace(
            self,
            probability_NC=self.probability_NC[chosen_N],
            guess_NC=self.guess_NC[chosen_N],
            truth_NC=self.truth_NC[chosen_N],
        )

    def mixed(self, other: Predictions, mine_N: Tensor) -> Predictions:
        """These predictions where `mine_N`, the other's elsewhere; both are of the same samples."""
        p_NC = torch.where(mine_N[:, None], self.probability_NC, other.probability_NC)
        guess_NC = torch.where(mine_N[:, None], self.guess_NC, other.guess_NC)
        return Predictions(p_NC, guess_NC, self.truth_NC, self.metric, self.multi_label)

    def score(self) -> float:
        """The headline score of all samples.

        Raises:
            PluginError: a plugin's metric failed.
        """
        one_N = torch.ones(len(self), dtype=torch.uint8)
        return float(self.scores(one_N[None])[0]) if self.metric in METRICS else self._score_of(one_N)

    def scores(self, weights_RN: Tensor) -> Tensor:
        """The headline score with each sample counted that often, ``[R]`` float64.

        NaN where none counts, and where a plugin's metric fails: many are undefined on some resamples.
        """
        if self.metric == "accuracy":
            hit_N1 = (self.guess_NC & self.truth_NC).any(1, keepdim=True)
            return _weigh(weights_RN, hit_N1)[:, 0] / weights_RN.sum(1, dtype=torch.double)
        if self.metric == "map":
            return _mean_average_precision(self.probability_NC, self.truth_NC, weights_RN)
        if self.metric in METRICS:
            return self._f1(weights_RN)
        return torch.tensor([self._score_or_nan(weights_N) for weights_N in weights_RN], dtype=torch.double)

    def _score_or_nan(self, weights_N: Tensor) -> float:
        try:
            return self._score_of(weights_N)
        except PluginError:
            return nan

    def _score_of(self, weights_N: Tensor) -> float:
        """A plugin's metric, which knows no weights: each sample repeated that often."""
        rows = torch.arange(len(self)).repeat_interleave(weights_N.long())
        if not len(rows):
            return nan
        truth_NC = self.truth_NC[rows]
        target = truth_NC.long() if self.multi_label else truth_NC.int().argmax(1)
        return compute_metric(self.metric, self.probability_NC[rows], target)

    def class_scores(self) -> Tensor:
        """The counterpart of each class (see `metric_labels`), ``[C]``; NaN without samples."""
        one_1N = torch.ones(1, len(self), dtype=torch.uint8)
        if self.metric == "map":
            return _average_precisions(self.probability_NC, self.truth_NC, one_1N)[0]
        hits_C, guessed_C, true_C = (counts[0] for counts in self._counts(one_1N))
        recall = self.metric == "accuracy" or (self.metric not in METRICS and not self.multi_label)
        values_C = hits_C / true_C if recall else 2 * hits_C / (guessed_C + true_C)
        return values_C.where(true_C > 0, torch.nan)

    def _counts(self, weights_RN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        columns = (self.guess_NC & self.truth_NC, self.guess_NC, self.truth_NC)
        hits_RC, guessed_RC, true_RC = (_weigh(weights_RN, column) for column in columns)
        return hits_RC, guessed_RC, true_RC

    def _f1(self, weights_RN: Tensor) -> Tensor:
        hits_RC, guessed_RC, true_RC = self._counts(weights_RN)
        entries_RC = guessed_RC + true_RC
        if self.metric == "f1_micro":
            hits_RC, entries_RC = hits_RC.sum(1, keepdim=True), entries_RC.sum(1, keepdim=True)
        seen_RC = entries_RC > 0
        f1_R = (2 * hits_RC / entries_RC).where(seen_RC, 0).sum(1)
        # Of a single label, classes that neither occur nor are predicted do not enter.
        n_R = torch.tensor(seen_RC.shape[1]) if self.multi_label else seen_RC.sum(1)
        return (f1_R / n_R).where(weights_RN.sum(1) > 0, torch.nan)


def _weigh(weights_RN: Tensor, columns_NC: Tensor) -> Tensor:
    """Weighted counts ``[R, C]`` float64 (exact: single precision holds integers up to 2^24)."""
    return torch.cat([part.float() @ columns_NC.float() for part in weights_RN.split(100)]).double()


def _average_precisions(p_NC: Tensor, truth_NC: Tensor, weights_RN: Tensor) -> Tensor:
    """Area under the stepwise precision-recall curve of each class, ``[R, C]``; NaN where it has no sample."""
    parts = [
        torch.stack([_average_precision(p, t, part) for p, t in zip(p_NC.T, truth_NC.T, strict=True)], 1)
        for part in weights_RN.split(100)
    ]
    return torch.cat(parts)


def _average_precision(p_N: Tensor, truth_N: Tensor, weights_RN: Tensor) -> Tensor:
    order = p_N.argsort(descending=True, stable=True)
    sorted_N, weights_RN = p_N[order], weights_RN[:, order].float()
    last_N = torch.cat([sorted_N[1:] != sorted_N[:-1], torch.ones(1, dtype=torch.bool)])  # of equal scores
    hits_RN = (weights_RN * truth_N[order]).cumsum(1)[:, last_N]
    precision_RN = (hits_RN / weights_RN.cumsum(1)[:, last_N]).nan_to_num(0)
    gained_RN = hits_RN.diff(dim=1, prepend=hits_RN.new_zeros(len(hits_RN), 1))
    return (gained_RN * precision_RN).sum(1).double() / hits_RN[:, -1].double()


def _mean_average_precision(p_NC: Tensor, truth_NC: Tensor, weights_RN: Tensor) -> Tensor:
    return _average_precisions(p_NC, truth_NC, weights_RN).nanmean(1)
