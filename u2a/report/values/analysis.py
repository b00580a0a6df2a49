"""What one encoding tells: scores of every pattern, classes, contributions, mask tokens, calibration.

Shape suffixes: N samples, M modalities in recipe order, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scenarios import Pattern, missing, patterns, without_mask_tokens
from u2a.evaluation.scoring import Scorer, classify
from u2a.method.model import U2A
from u2a.method.selection import subsets
from u2a.recipe.task import TaskSection
from u2a.report.values.availability import Curve, curve
from u2a.report.values.contributions import Coalition, of_run
from u2a.report.values.details import Detail
from u2a.report.values.mixing import FORMS, Mix, choose
from u2a.report.values.patterns import PatternValues
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues, on
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
        self.everything = 2 ** len(self.names) - 1
        self._found: dict[tuple[int, bytes], PseudoValues] = {}
        self._coalitions: dict[int, Coalition] = {}

    @cached_property
    def complete(self) -> Predictions:
        """Predictions with all that the data has."""
        return self.predict(self._present(self.everything))

    @cached_property
    def without(self) -> dict[str, tuple[Predictions, Tensor]]:
        """For each modality whose loss leaves a sample: predictions without it, and the usable samples."""
        found = {}
        for m, name in enumerate(self.names):
            if name in self.never:
                continue
            present_NM = self._present(self.everything - 2**m)
            if (usable_N := present_NM.any(1)).any():
                found[name] = self.predict(present_NM), usable_N
        return found

    @cached_property
    def never(self) -> list[str]:
        """The modalities that no sample has."""
        there_M = self.encoded.present_NM.any(0).tolist()
        return [name for name, there in zip(self.names, there_M, strict=True) if not there]

    def patterns(self, every: bool = False) -> list[PatternValues]:
        """The patterns of a sweep (`every`: all there are) that leave a sample, the complete one first."""
        scorer, found = Scorer(self.model, self.encoded, self.task), []
        for pattern in subsets(len(self.names)) if every else patterns(len(self.names), self.seed):
            present_NM = self._present(_bits(pattern))
            usable_N = present_NM.any(1)
            if usable_N.any():
                lacks = missing(self.names, pattern)
                scenario = scorer.drop(lacks)
                own, beside = self._pseudo(_bits(pattern), usable_N), self._pseudo(self.everything, usable_N)
                # In double precision as all that it is compared with: ties would round to two figures.
                scores = scenario.scores | {self.task.headline: own.score}
                found.append(
                    PatternValues(pattern, tuple(lacks), scenario.n, scenario.n_empty, scores, own, beside)
                )
        return found

    def mix(self, found: Sequence[PatternValues], limit: int, most: int | None = None) -> Mix | None:
        """What the score of any mix of these patterns follows from; None where it is their mean, or unknown.

        Args:
            limit, most: of values and samples (see `u2a.report.values.mixing.choose`).
        """
        metric, truth_NC = FORMS.get(self.complete.form or ""), self.complete.truth_NC.numpy()
        if metric is None:
            return None
        present = [torch.tensor(pattern.present) for pattern in found]
        used_NK = torch.stack([(self.encoded.present_NM & present_M).any(1) for present_M in present], 1)
        chosen_N = choose(len(truth_NC), len(found) * truth_NC.shape[1], limit, most, self.seed)
        predicted = (self._of(_bits(pattern.present)) for pattern in found)
        return Mix.of(predicted, truth_NC, used_NK.numpy(), metric, chosen_N)

    def detail(self) -> Detail:
        """Classes, contributions, mask tokens and calibration: what `u2a.report.values.details.told` needs."""
        tokens = token_quality(self.encoded, self.complete.truth_NC, self.names)
        parts = of_run(self.coalition, len(self.names), self.seed)
        return Detail(self.complete, self.without, self._without_mask_tokens(), tokens, parts)

    def availability(self) -> list[Curve]:
        """The expected headline score as each modality becomes rarer (paper Fig. 2)."""
        found = []
        for m, name in enumerate(self.names):
            if name in self.without:
                without, usable_N = self.without[name]
                whole, bare = (self._pseudo(S, usable_N) for S in (self.everything, self.everything - 2**m))
                present_N = self.encoded.present_NM[:, m]
                found.append(curve(self.complete, without, (whole, bare), usable_N, name, present_N, self.seed))
        return found

    def _pseudo(self, S: int, usable_N: Tensor) -> PseudoValues:
        """Of the headline score with the modalities of the bits of S, on the usable samples; computed once."""
        key = S, usable_N.numpy().tobytes()
        if key not in self._found:
            self._found[key] = on(usable_N.numpy(), self._of(S))
        return self._found[key]

    def _of(self, S: int) -> Predictions:
        return self.complete if self.everything == S else self.predict(self._present(S))

    def coalition(self, S: int) -> Coalition:
        """The score with the modalities of the bits of S alone, over all samples; computed once."""
        if S not in self._coalitions:
            predictions = self._of(S)
            found = self._pseudo(S, torch.ones(len(predictions), dtype=torch.bool))
            class_C = predictions.class_scores().numpy()
            self._coalitions[S] = Coalition(np.asarray(found.score), class_C, found.value_N, found.share)
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
            present_NM = self._present(self.everything - 2 ** self.names.index(name))
            logits_NC = classify(self.model, bare, present_NM)
            found[name] = Predictions.of(logits_NC, self.encoded.target, self.task)
        return found


def _bits(pattern: Pattern) -> int:
    return sum(1 << m for m, kept in enumerate(pattern) if kept)
