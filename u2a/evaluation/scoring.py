"""Evaluation: encode each present modality once, then score any availability pattern from that encoding.

Encoders see one modality each, so dropping a modality changes token selection and nothing before it; a
scenario costs one pass of the head. Shape suffixes: N samples, M modalities in recipe order, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from u2a.data.feeding.unreadable import Unreadable
from u2a.errors import U2AError
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.metrics import scores
from u2a.evaluation.shown import table
from u2a.method.finite import explain_head
from u2a.method.model import U2A
from u2a.recipe.task import TaskSection

#: Samples that are classified at once: M x M tokens of each stay in a processor's cache.
ROWS = 64


def classify(model: U2A, encoded: Encoded, present_NM: Tensor) -> Tensor:
    """Logits of every sample with the given presence (a subset of the data's own): ``logits_NC``, CPU.

    Raises:
        U2AError: they are not finite.
    """
    device = model.device
    with torch.inference_mode():
        chunks = [
            model.classify(cls.to(device), mask.to(device), present.to(device)).cpu()
            for cls, mask, present in zip(
                encoded.cls_NMD.split(ROWS),
                encoded.mask_NMMD.split(ROWS),
                present_NM.split(ROWS),
                strict=True,
            )
        ]
    logits_NC = torch.cat(chunks)
    if not logits_NC.isfinite().all():
        raise U2AError(f"the scores are not numbers: {explain_head(model)}")
    return logits_NC


@dataclass(frozen=True)
class Scenario:
    """One evaluated availability pattern beside the complete data, both on the same samples.

    Attributes:
        dropped: modalities taken away on top of what the data lacks.
        n: samples scored; n_empty: samples left out because the pattern would empty them.
        scores, complete: metric names to values in 0..1.
        kept: modalities that only a share of the samples keeps, with that share.
        calibrated: what calibration makes of this pattern (see `u2a.evaluation.calibrated`); empty without one.
        stand_ins: the directions that the pattern uses, ``image_to_text`` and so on, to the squared error of
            what stands in, relative to a constant's (see `u2a.evaluation.stand_ins`); empty without any.
        majority: the share of the most frequent class in the samples: what always guessing it would reach; None
            for multi-label tasks.
        unreadable: samples of the split that are in no score, since they cannot be read.
    """

    dropped: tuple[str, ...]
    n: int
    n_empty: int
    scores: dict[str, float]
    complete: dict[str, float]
    kept: Mapping[str, float] = field(default_factory=dict)
    calibrated: Mapping[str, Any] = field(default_factory=dict)
    stand_ins: Mapping[str, float | None] = field(default_factory=dict)
    majority: float | None = None
    unreadable: tuple[Unreadable, ...] = ()

    def __repr__(self) -> str:
        shown = ", ".join(f"{n} {v:.4f} ({v - self.complete[n]:+.4f})" for n, v in self.scores.items())
        empty = f" ({self.n_empty} more would have nothing)" if self.n_empty else ""
        return f"Scenario({self._pattern()}: {shown}; {self.n} samples{empty})"

    def _repr_html_(self) -> str:
        rows = [
            (n, f"{v:.4f}", f"{self.complete[n]:.4f}", f"{v - self.complete[n]:+.4f}")
            for n, v in self.scores.items()
        ]
        return table(("metric", self._pattern(), "complete", "change"), rows, f"{self.n} samples")

    def _pattern(self) -> str:
        parts = [f"without {', '.join(self.dropped)}"] if self.dropped else []
        parts += [f"{name} in {share:.0%}" for name, share in self.kept.items()]
        return "; ".join(parts) or "complete"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of samples that cannot be read, their number."""
        plain = {"dropped": list(self.dropped), "kept": dict(self.kept)}
        rest = {k: v for k, v in vars(self).items() if k not in (*plain, "unreadable")}
        return {**plain, **rest, "n_unreadable": len(self.unreadable)}


class Scorer:
    """Scores availability patterns of one encoding; what the patterns share is computed once."""

    def __init__(self, model: U2A, encoded: Encoded, task: TaskSection) -> None:
        self.model, self.encoded, self.task = model, encoded, task
        self.complete_NC = classify(model, encoded, encoded.present_NM)
        self._complete: dict[bytes, dict[str, float]] = {}
        #: Relative errors of source and target, by their numbers (see `u2a.evaluation.stand_ins`).
        self.pair_errors: dict[tuple[int, int], float | None] = {}

    def drop(self, dropped: Sequence[str] = ()) -> Scenario:
        """Score a drop pattern.

        Raises:
            U2AError: a name that is no modality of the model, or nothing would remain.
        """
        check_dropped(self.model.names, dropped)
        kept_M = torch.tensor([name not in dropped for name in self.model.names])
        return self.keep(kept_M.expand_as(self.encoded.present_NM), dropped)

    def keep(
        self, kept_NM: Tensor, dropped: Sequence[str] = (), shares: Mapping[str, float] | None = None
    ) -> Scenario:
        """Score any pattern, given as what each sample may keep (bool); `dropped` and `shares` describe it.

        Raises:
            U2AError: nothing would remain of any sample.
        """
        remaining_NM = self.encoded.present_NM & kept_NM
        usable_N = remaining_NM.any(1)
        if not usable_N.any():
            without = ", ".join(dropped) or "what is not kept"
            raise U2AError(f"without {without} no sample has any modality left")
        complete = self._scores_of_complete(usable_N)
        reduced = complete
        if not torch.equal(remaining_NM, self.encoded.present_NM):
            logits_NC = classify(self.model, self.encoded, remaining_NM)
            reduced = scores(logits_NC[usable_N], self.encoded.target[usable_N], self.task)
        n = int(usable_N.sum())
        return Scenario(
            tuple(dropped),
            n,
            len(usable_N) - n,
            reduced,
            complete,
            dict(shares or {}),
            majority=self._majority(usable_N),
            unreadable=self.encoded.unreadable,
        )

    def _majority(self, usable_N: Tensor) -> float | None:
        if self.task.kind == "multi_label":
            return None
        target_N = self.encoded.target[usable_N]
        return float(target_N.bincount().max() / len(target_N))

    def _scores_of_complete(self, usable_N: Tensor) -> dict[str, float]:
        key = usable_N.numpy().tobytes()
        if key not in self._complete:
            self._complete[key] = scores(self.complete_NC[usable_N], self.encoded.target[usable_N], self.task)
        return self._complete[key]


def check_dropped(names: Sequence[str], dropped: Sequence[str]) -> None:
    """Refuse modalities that the recipe does not have, and dropping them all."""
    if unknown := [name for name in dropped if name not in names]:
        raise U2AError(f"--drop {unknown[0]}: no such modality; this run has {', '.join(names)}")
    if set(dropped) >= set(names):
        raise U2AError(f"--drop {','.join(dropped)}: at least one of {', '.join(names)} must remain")
