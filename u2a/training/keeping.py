"""Checkpoints of one training: what is saved when, which one is the best, and going on from the last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from u2a.common.distributed import World
from u2a.common.terminal import console
from u2a.errors import ShardError, U2AError
from u2a.evaluation.validation import Validation
from u2a.method.model import U2A
from u2a.recipe.task import TaskSection
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training.data import TrainingData

LEVEL = 2  # standard errors by which a loss must be higher to be worse


@dataclass(frozen=True)
class Facts:
    """What must be the same where a training goes on: each with what it is called for people.

    Attributes:
        also_known_as: fingerprints that older versions gave the same training data; not recorded.
    """

    steps_per_epoch: int
    total_steps: int
    data_fingerprint: str
    validation_fingerprint: str | None
    also_known_as: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: TrainingData, total_steps: int) -> Facts:
        """Those of a training on that data."""
        steps, validation = data.plan.steps_per_epoch, data.validation_fingerprint
        return cls(steps, total_steps, data.fingerprint, validation, data.also_known_as)

    def recorded(self) -> dict[str, Any]:
        """What a checkpoint says of its training."""
        return {key: value for key, value in vars(self).items() if key != "also_known_as"}

    def extends(self, meta: Mapping[str, Any]) -> bool:
        """Whether this is the schedule of a checkpoint with more epochs."""
        same_epochs = meta.get("steps_per_epoch") == self.steps_per_epoch
        return same_epochs and meta.get("total_steps", 0) < self.total_steps

    def check(self, run: Run, meta: Mapping[str, Any]) -> None:
        """Refuse a checkpoint that was made with others.

        Raises:
            U2AError: names what has changed.
        """
        names = {
            "data_fingerprint": "the training data",
            "validation_fingerprint": "the validation data",
            "total_steps": "the schedule's length",
        }
        for key, what in names.items():
            mine = getattr(self, key)
            if key == "total_steps" and self.extends(meta):
                continue
            mine_too = self.also_known_as if key == "data_fingerprint" else ()
            if meta.get(key, mine) not in (mine, *mine_too):
                raise U2AError(f"{run}: cannot resume: {what} has changed since ({meta[key]} is now {mine})")


class Keeper:
    """Saves a training's checkpoints and knows the best one.

    Attributes:
        saved: step of the last checkpoint; -1 = none yet.
        best: the best validation so far, by ``task.select_on`` and ``select_by``; None = none yet.
        at_start: the validation before the first step, which no later checkpoint may fall behind; None = none.
        losses: ``best_N``, what each validation sample, or group of them, adds to `best`, where that is a loss.
        stale: validations since the best one.
    """

    def __init__(
        self,
        run: Run,
        model: U2A,
        optimizer: torch.optim.Optimizer,
        task: TaskSection,
        place: World,
        facts: Facts,
    ) -> None:
        self.run, self.model, self.optimizer = run, model, optimizer
        self.task, self.place, self.facts = task, place, facts
        self.saved, self.stale = -1, 0
        self.best: float | None = None
        self.at_start: float | None = None
        self.losses: dict[str, Tensor] = {}

    def keep(self, step: int, validation: Validation | None, more: Mapping[str, Any]) -> None:
        """Save after a validation; without one the last checkpoint is the best, a tie goes to the later one."""
        better = validation is None or self._is_better(validation.selected)
        level = validation is not None and not better and self._is_level(validation)
        if validation is not None and better:
            self.best = validation.selected
            self.losses = {} if validation.losses_N is None else {"best_N": validation.losses_N}
        if validation is not None and step == 0:
            self.at_start = validation.selected
        self.stale = 0 if better else self.stale + 1
        self.save(step, validation, more, best=better or level)

    def save(
        self, step: int, validation: Validation | None, more: Mapping[str, Any], *, best: bool = False
    ) -> None:
        """Write a checkpoint (on the first process) and make it LAST, and BEST if it is."""
        if self.place.main:
            known = {
                **self.facts.recorded(),
                "best": self.best,
                "at_start": self.at_start,
                "selected_by": self.task.selected_by,
                "stale": self.stale,
                "validation": validation.scores if validation else {},
                "selected": validation.selected if validation else None,
                "calibration": validation.calibration.as_dict() if validation else None,
                "classes": list(self.task.classes),
                "modalities": checkpoint.describe_modalities(self.model),
            }
            meta, root = {**known, **more}, self.run.checkpoints
            checkpoint.save_checkpoint(root, step, self.model, self.optimizer, meta, best=best, **self.losses)
            self._send()
        self.saved = step

    def _send(self) -> None:
        """To the address, where the run has one; a store that is away costs no training."""
        try:
            self.run.send()
        except ShardError as error:
            text = f"{error}; what was saved is in {self.run.folder}, and is sent with the next checkpoint"
            console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def restore(self) -> dict[str, Any]:
        """Put the LAST checkpoint's tensors and optimizer state in place; returns what it says.

        Raises:
            CheckpointError: damaged, or made for other weights.
            U2AError: made for other data or another schedule.
        """
        folder = checkpoint.current(self.run.checkpoints, "LAST")
        meta = checkpoint.load_adapter(folder, self.model)
        self.facts.check(self.run, meta)
        self.losses = checkpoint.load_optimizer(folder, self.model, self.optimizer)
        return meta

    def follow(self, meta: Mapping[str, Any]) -> None:
        """Stand where the checkpoint that `restore` read was saved."""
        self.saved, self.best, self.stale = meta["step"], meta["best"], meta.get("stale", 0)
        self.at_start = meta.get("at_start", meta["best"])  # older ones do not say: no higher than the start's
        if meta.get("selected_by", self.task.selection_metric) != self.task.selected_by:
            self.best = self.at_start = None  # not comparable: the next validation begins anew
        if self.facts.extends(meta):  # whoever asks for more epochs does not want them to end at once
            self.stale = 0

    def _is_better(self, value: float) -> bool:
        if self.best is None or math.isnan(self.best):
            return True
        return value >= self.best if self.task.selects_highest else value <= self.best

    def _is_level(self, validation: Validation) -> bool:
        """Whether chance alone may have made a loss higher than the lowest: the later checkpoint is kept then.

        It is within two standard errors of the difference, taken sample by sample (those that share a file or a
        group as one), and not above `at_start`.
        On other processes than the first, which alone saves, a resumed training says no.
        """
        later_N, best_N = validation.losses_N, self.losses.get("best_N")
        if later_N is None or best_N is None or later_N.shape != best_N.shape:  # of other samples
            return False
        if len(later_N) < 2:
            return False
        if self.at_start is not None and validation.selected > self.at_start:
            return False
        more_N = later_N - best_N
        return float(more_N.sum()) <= LEVEL * float(more_N.std()) * math.sqrt(len(more_N))
