"""Predictions of one scenario, and the headline score of all samples or of each class.

Shape suffixes: N samples, C classes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from u2a.contract.extensions import THRESHOLD, MetricForm
from u2a.evaluation.metrics import compute_metric, probabilities
from u2a.recipe.task import TaskSection

#: What the report shows of each class beside a score of that form.
CLASS_LABELS = {
    "hits": "recall of the class",
    "class_f1": "F1 of the class",
    "pooled_f1": "F1 of the class",
    "class_precision": "average precision of the class",
}


@dataclass(frozen=True)
class Predictions:
    """What the scores of N samples are made of.

    Attributes:
        probability_NC: float32; guess_NC: bool, the predicted classes; truth_NC: bool.
        task: what is predicted; metric: one of its metrics, which is the score.
    """

    probability_NC: Tensor
    guess_NC: Tensor
    truth_NC: Tensor
    task: TaskSection
    metric: str

    @classmethod
    def of(cls, logits_NC: Tensor, target: Tensor, task: TaskSection) -> Predictions:
        """From logits and a split's target, as `u2a.evaluation.metrics.scores` reads them."""
        return cls.of_probabilities(probabilities(logits_NC, task), target, task, task.headline)

    @classmethod
    def of_probabilities(cls, p_NC: Tensor, target: Tensor, task: TaskSection, metric: str) -> Predictions:
        """From probabilities and a target: ``[N]`` class numbers, or ``[N, C]`` of 0 and 1."""
        if task.kind == "multi_label":
            guess_NC, truth_NC = p_NC >= THRESHOLD, target.bool()
        else:
            classes_C = torch.arange(p_NC.shape[1])
            guess_NC = p_NC.argmax(1)[:, None] == classes_C
            truth_NC = target[:, None] == classes_C
        return cls(p_NC, guess_NC, truth_NC, task, metric)

    @property
    def multi_label(self) -> bool:
        """The task's kind."""
        return self.task.kind == "multi_label"

    @property
    def form(self) -> MetricForm | None:
        """What the score is made of."""
        return self.task.spec(self.metric).form

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
        return Predictions(p_NC, guess_NC, self.truth_NC, self.task, self.metric)

    def score(self) -> float:
        """The headline score of all samples; NaN without samples.

        Raises:
            PluginError: a plugin's metric failed.
        """
        if not len(self):
            return float("nan")
        if self.form == "hits":
            return float(self.hits.double().mean())
        if self.form == "pooled_f1":
            hits_C, entries_C = self.counts()
            return float(2 * hits_C.sum() / entries_C.sum().clamp(min=1))
        if self.form:
            return macro(self.class_scores())
        target = self.truth_NC.long() if self.multi_label else self.truth_NC.int().argmax(1)
        return compute_metric(self.metric, self.probability_NC, target, self.task)

    @property
    def hits(self) -> Tensor:
        """Whether a guessed class is true, bool."""
        return (self.guess_NC & self.truth_NC).any(1)

    def class_scores(self) -> Tensor:
        """The counterpart of each class (see `class_form`), ``[C]`` float64; NaN without samples."""
        true_C = self.truth_NC.sum(0).double()
        form = class_form(self.task, self.metric)
        if form == "class_precision":
            pairs = zip(self.probability_NC.T, self.truth_NC.T, strict=True)
            return torch.stack([average_precision(p_N, truth_N) for p_N, truth_N in pairs])
        hits_C, entries_C = self.counts()
        values_C = hits_C / true_C if form == "hits" else 2 * hits_C / entries_C
        return values_C.where(true_C > 0, torch.nan)

    def counts(self) -> tuple[Tensor, Tensor]:
        """Right guesses of each class, and guesses plus samples of it; ``[C]`` float64."""
        hits_C = (self.guess_NC & self.truth_NC).sum(0).double()
        return hits_C, (self.guess_NC.sum(0) + self.truth_NC.sum(0)).double()


def class_form(task: TaskSection, metric: str) -> MetricForm:
    """What a class is scored by: the metric's form, or of a metric that has none the task's plainest."""
    return task.spec(metric).form or ("class_f1" if task.kind == "multi_label" else "hits")


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
