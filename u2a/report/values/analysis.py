"""What one encoding tells: scores of every pattern, classes, contributions, mask tokens, calibration.

Shape suffixes: N samples, M modalities in recipe order, C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import Pattern, patterns, without_mask_tokens
from u2a.evaluation.scoring import Scorer, classify
from u2a.method.model import U2A
from u2a.recipe.sections import TaskSection
from u2a.report.values.availability import availability
from u2a.report.values.bootstrap import interval, resamples, scores_at
from u2a.report.values.calibration import calibration
from u2a.report.values.contributions import Coalition, contributions
from u2a.report.values.predictions import Predictions
from u2a.report.values.tokens import token_quality


class Analysis:
    """All that a report says of one run, computed from one encoding.

    Args:
        keys: the samples' keys.
        seed: of resamples, kept samples, and what is sampled beyond `scenarios.EXACT` modalities.
    """

    def __init__(
        self, model: U2A, encoded: Encoded, task: TaskSection, keys: Sequence[str], *, seed: int = 0
    ) -> None:
        self.model, self.encoded, self.task, self.keys, self.seed = model, encoded, task, keys, seed
        self.names = model.names
        self.weights_RN = resamples(len(keys), seed)
        self._coalitions: dict[int, Coalition] = {}

    @cached_property
    def complete(self) -> Predictions:
        """Predictions with all that the data has."""
        return self.predict(self._present(2 ** len(self.names) - 1))

    @cached_property
    def without(self) -> dict[str, tuple[Predictions, Tensor]]:
        """For each modality whose absence leaves a sample: predictions without it, and the usable samples."""
        found = {}
        for m, name in enumerate(self.names):
            present_NM = self._present(2 ** len(self.names) - 1 - 2**m)
            if (usable_N := present_NM.any(1)).any():
                found[name] = self.predict(present_NM), usable_N
        return found

    def patterns(self) -> list[dict[str, Any]]:
        """A row a pattern: presence, all metrics, the headline score's interval, difference to complete."""
        scorer, rows = Scorer(self.model, self.encoded, self.task), []
        for pattern in patterns(len(self.names), self.seed):
            missing = [n for n, kept in zip(self.names, pattern, strict=True) if not kept]
            usable_N = self._present(_bits(pattern)).any(1)
            if usable_N.any():
                scenario = scorer.drop(missing)
                row = {
                    "present": list(pattern),
                    "missing": missing,
                    "n": scenario.n,
                    "n_empty": scenario.n_empty,
                }
                rows.append(row | {"scores": scenario.scores} | self._difference(pattern, usable_N, scenario))
        return rows

    def classes(self) -> list[dict[str, Any]]:
        """A row a class that occurs: complete, each modality missing, and the same without mask tokens.

        ``complete`` is of all samples, ``complete_beside`` of those that are left with each modality missing:
        what a loss is measured from.
        """
        complete_C, counts_C = self.complete.class_scores(), self.complete.truth_NC.sum(0)
        by_missing = {
            "complete_beside": dict.fromkeys(self.without, self.complete),
            "missing": {name: predictions for name, (predictions, _) in self.without.items()},
            "missing_without_mask_tokens": self._without_mask_tokens(),
        }
        scores = {part: self._class_scores(found) for part, found in by_missing.items()}
        return [
            {"class": name, "n": int(counts_C[c]), "complete": float(complete_C[c])}
            | {part: {m: _number(found_C[c]) for m, found_C in found.items()} for part, found in scores.items()}
            for c, name in enumerate(self.task.classes)
            if counts_C[c]
        ]

    def contributions(self) -> dict[str, Any]:
        """Shapley values overall (with intervals) and by class, and the interaction of each pair."""
        return contributions(self.coalition, self.names, self.task.classes, self.seed)

    def availability(self) -> list[dict[str, Any]]:
        """The headline score as each modality becomes rarer (paper Fig. 2)."""
        return [
            availability(self.complete, *self.without[name], name, self.keys, self.encoded.present_NM[:, m])
            for m, name in enumerate(self.names)
            if name in self.without
        ]

    def tokens(self) -> list[dict[str, Any]]:
        """Mask token against class token, for every direction."""
        return token_quality(self.encoded, self.complete.truth_NC, self.names)

    def calibration(self) -> list[dict[str, Any]]:
        """Calibration complete and with each modality missing."""
        rows: list[dict[str, Any]] = [{"missing": None, "n": len(self.keys)} | calibration(self.complete)]
        for name, (predictions, usable_N) in self.without.items():
            rows.append({"missing": name, "n": int(usable_N.sum())} | calibration(predictions.at(usable_N)))
        return rows

    def _difference(self, pattern: Pattern, usable_N: Tensor, scenario: Any) -> dict[str, Any]:
        metric, everyone = self.task.headline, bool(usable_N.all())
        if everyone:
            score_R = self.coalition(_bits(pattern)).score_R
            complete_R = self.coalition(2 ** len(self.names) - 1).score_R
        else:
            score_R, complete_R = (
                scores_at(predictions, usable_N, self.weights_RN).numpy()
                for predictions in (self.predict(self._present(_bits(pattern))), self.complete)
            )
        return {
            "interval": interval(score_R),
            "complete": scenario.complete[metric],
            "difference": scenario.scores[metric] - scenario.complete[metric],
            "difference_interval": interval(score_R - complete_R),
        }

    def coalition(self, S: int) -> Coalition:
        """The score with the modalities of the bits of S alone, over all samples; computed once."""
        if S not in self._coalitions:
            predictions = self.predict(self._present(S))
            score, score_R = np.asarray(predictions.score()), predictions.scores(self.weights_RN)
            class_C = predictions.class_scores().double()
            self._coalitions[S] = Coalition(score, class_C.numpy(), score_R.numpy())
        return self._coalitions[S]

    def _present(self, S: int) -> Tensor:
        kept_M = torch.tensor([bool(S >> m & 1) for m in range(len(self.names))])
        return self.encoded.present_NM & kept_M

    def predict(self, present_NM: Tensor) -> Predictions:
        """Predictions with the given presence (a subset of the data's own)."""
        return Predictions.of(classify(self.model, self.encoded, present_NM), self.encoded.target, self.task)

    def _without_mask_tokens(self) -> dict[str, Predictions]:
        """`without`'s predictions, with zeros in place of the mask tokens."""
        bare, found = without_mask_tokens(self.encoded), {}
        for name in self.without:
            present_NM = self._present(2 ** len(self.names) - 1 - 2 ** self.names.index(name))
            logits_NC = classify(self.model, bare, present_NM)
            found[name] = Predictions.of(logits_NC, self.encoded.target, self.task)
        return found

    def _class_scores(self, by_missing: dict[str, Predictions]) -> dict[str, Tensor]:
        """Class scores on the samples that are left without the modality, ``[C]`` each."""
        return {name: found.at(self.without[name][1]).class_scores() for name, found in by_missing.items()}


def _bits(pattern: Pattern) -> int:
    return sum(1 << m for m, kept in enumerate(pattern) if kept)


def _number(value: Tensor | float) -> float | None:
    """A plain float; None for NaN, which JSON does not know."""
    number = float(value)
    return None if np.isnan(number) else number
