"""Predictions of one scenario, and the headline score of all samples or of each class.

Shape suffixes: N samples, C classes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from u2a.evaluation.metrics import compute_metric, probabilities
from u2a.recipe.sections import TaskSection

#: How the report calls each headline metric whose parts it knows, and the same of a single class.
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
        return cls.of_probabilities(probabilities(logits_NC, task), target, task.headline)

    @classmethod
    def of_probabilities(cls, p_NC: Tensor, target: Tensor, metric: str) -> Predictions:
        """From probabilities and a target: ``[N]`` class numbers, or ``[N, C]`` of 0 and 1."""
        multi_label = target.dim() == 2
        if multi_label:
            guess_NC, truth_NC = p_NC >= 0.5, target.bool()
        else:
            classes_C = torch.arange(p_NC.shape[1])
            guess_NC = p_NC.argmax(1)[:, None] == classes_C
            truth_NC = target[:, None] == classes_C
        return cls(p_NC, guess_NC, truth_NC, metric, multi_label)

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
        """The headline score of all samples; NaN without samples.

        Raises:
            PluginError: a plugin's metric failed.
        """
        if not len(self):
            return float("nan")
        if self.metric == "accuracy":
            return float(self.hits.double().mean())
        if self.metric == "f1_micro":
            hits_C, entries_C = self.counts()
            return float(2 * hits_C.sum() / entries_C.sum().clamp(min=1))
        if self.metric in METRICS:
            return macro(self.class_scores())
        target = self.truth_NC.long() if self.multi_label else self.truth_NC.int().argmax(1)
        return compute_metric(self.metric, self.probability_NC, target)

    @property
    def hits(self) -> Tensor:
        """Whether a guessed class is true, bool."""
        return (self.guess_NC & self.truth_NC).any(1)

    @property
    def recall_of_classes(self) -> bool:
        """Whether a class is scored by its recall; else by its F1 or, for ``map``, its average precision."""
        return self.metric == "accuracy" or (self.metric not in METRICS and not self.multi_label)

    def class_scores(self) -> Tensor:
        """The counterpart of each class (see `metric_labels`), ``[C]`` float64; NaN without samples."""
        true_C = self.truth_NC.sum(0).double()
        if self.metric == "map":
            pairs = zip(self.probability_NC.T, self.truth_NC.T, strict=True)
            return torch.stack([average_precision(p_N, truth_N) for p_N, truth_N in pairs])
        hits_C, entries_C = self.counts()
        values_C = hits_C / true_C if self.recall_of_classes else 2 * hits_C / entries_C
        return values_C.where(true_C > 0, torch.nan)

    def counts(self) -> tuple[Tensor, Tensor]:
        """Right guesses of each class, and guesses plus samples of it; ``[C]`` float64."""
        hits_C = (self.guess_NC & self.truth_NC).sum(0).double()
        return hits_C, (self.guess_NC.sum(0) + self.truth_NC.sum(0)).double()


def macro(scores_C: Tensor) -> float:
    """The mean over the classes that occur, the one rule for every macro average; 0 where none does."""
    known_C = scores_C[~scores_C.isnan()]
    return float(known_C.mean()) if len(known_C) else float("nan")


def average_precision(p_N: Tensor, truth_N: Tensor) -> Tensor:
    """Area under the stepwise precision-recall curve of one class, float64; NaN where it has no sample."""
    order = p_N.argsort(descending=True, stable=True)
    sorted_N = p_N[order]
    last_N = torch.cat([sorted_N[1:] != sorted_N[:-1], torch.ones(1, dtype=torch.bool)])  # of equal scores
    hits_G = truth_N[order].double().cumsum(0)[last_N]
    seen_G = (last_N.nonzero().flatten() + 1).double()
    gained_G = hits_G.diff(prepend=hits_G.new_zeros(1))
    return (gained_G * hits_G / seen_G).sum() / hits_G[-1]
