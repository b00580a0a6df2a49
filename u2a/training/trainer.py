"""The trainer: AdamW on the learnable tensors, the paper's schedule, exact resume, one or many processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from u2a.common.distributed import World, sum_over_processes
from u2a.common.seeds import stable_seed
from u2a.contract.engines import Report
from u2a.contract.extensions import LineKind
from u2a.data.feeding.batches import Batch, reading
from u2a.data.feeding.unreadable import Failed
from u2a.errors import U2AError
from u2a.method.finite import explain_batches
from u2a.method.skipping import SkippedSteps, gradient_advice
from u2a.recipe.sections import Recipe
from u2a.runs import checkpoint
from u2a.runs.build import build_model
from u2a.runs.folder import Run
from u2a.training import agreement
from u2a.training.before_steps import begin, starts_ahead
from u2a.training.frozen_blocks import FrozenBlocks
from u2a.training.indexed_data import IndexedData
from u2a.training.keeping import Facts, Keeper
from u2a.training.left_out import LeftOut
from u2a.training.loggers import Loggers, check_loggers
from u2a.training.objective import build_objective, synced
from u2a.training.progress import TrainingProgress, format_scores
from u2a.training.schedule import build_optimizer, choose_epochs, extended, learning_rate, notices, take_step
from u2a.training.signals import StopSignal
from u2a.training.streamed_data import StreamedData
from u2a.training.timed import SaveClock


class Trainer:
    """One training: a recipe, a run folder, and this process's place among all.

    Everything the user could have got wrong in recipe and data is checked before the model is built.

    Attributes:
        data, plan, total: what is read, in which order, in how many steps.
        model, frozen, objective, parameters, optimizer: what is trained, and how.
        done, owes_validation, skipped, keeper: where the training stands, and what is saved of it.
        stop, progress, loggers: who may end it, and who is told.
        left_out: samples that cannot be read, if the recipe leaves them out.
    """

    def __init__(self, recipe: Recipe, run: Run, place: World, report: Report | None = None) -> None:
        check_loggers(recipe)
        kind = StreamedData if recipe.data.streaming else IndexedData
        self.data = agreement.made_by_all(lambda: kind(recipe, place), place)
        recipe = choose_epochs(recipe, self.data.plan.steps_per_epoch, validates=self.data.validates)
        self.recipe, self.run, self.place, training = recipe, run, place, recipe.training
        self.plan = self.data.plan
        self.total = training.epochs * self.plan.steps_per_epoch

        self.model = agreement.made_by_all(lambda: build_model(recipe), place).to(place.device)
        agreement.hold_together({**self.data.identities, **agreement.encoders_of(self.model)}, place)
        self.objective = build_objective(self.model, recipe, place, self.data.class_weights)
        self.frozen = FrozenBlocks(recipe, self.model, self.data, run.folder, place)
        self.parameters = [parameter for _, parameter in checkpoint.learnable(self.model)]
        self.optimizer = build_optimizer(self.model, training)

        self.done, self.owes_validation, self.skipped = 0, False, SkippedSteps(self.total)
        facts = Facts.of(self.data, self.total)
        self.keeper = Keeper(run, self.model, self.optimizer, recipe.task, place, facts)
        self.clock = SaveClock(training.save_minutes if place.main else 0)
        self.stop = StopSignal(alone=place.size == 1, report=report)
        self.progress = TrainingProgress(self.total, training.batch_size, quiet=not place.main)
        self.left_out = LeftOut(run, place, self.progress.say)
        self.data.told = lambda split, found: self.left_out.add(split, found, self.done)
        self.loggers = Loggers(training.loggers if place.main else (), recipe, run.folder, self.progress.say)

    @property
    def finished(self) -> bool:
        """True where nothing is left to do: no step, no validation, no head start."""
        ended = self.done >= self.total or self._out_of_patience()
        return ended and self.keeper.saved >= 0 and not self.owes_validation

    def fit(self) -> dict[str, float]:
        """Train from where the run stands to the end; returns the last validation's scores.

        Raises:
            U2AError: bad data, everything done so far is saved; or gradients that are no longer finite.
            KeyboardInterrupt: SIGINT or SIGTERM arrived; everything done so far is saved.
        """
        self.objective.train()
        self.progress.begin(self.done)
        self.left_out.restore()
        self.loggers.done = self.done
        last: dict[str, float] = {}
        with self.stop, self.progress, reading(self.data.loader(self.done, self.total)) as read, self.loggers:
            told = [*self.data.notices(), *self.frozen.notices()]
            self.progress.say(*told, *notices(self.plan.steps_per_epoch, self.recipe.training))
            if self.keeper.saved < 0:
                last = self._begin()
                self.progress.begin(self.done)
            elif self.owes_validation:
                last = self._end_epoch()
            while self.done < self.total and not self._out_of_patience():
                self._report(self.train_step(self._next(read)))
                if self.done % self.plan.steps_per_epoch == 0:
                    last = self._end_epoch()
                elif self.clock.due:  # on the first process alone, which writes alone
                    self._save()
                self.stop.tell()
            self.progress.say(*self.left_out.summary())
        return last

    def train_step(self, micro_batches: list[Batch]) -> dict[str, float]:
        """One optimizer step over the global batch, of which `micro_batches` are this process's part.

        None is taken, nor are there losses, where all of the batch was left out.
        """
        training = self.recipe.training
        counts = self.data.counts(self.done, micro_batches)
        self.left_out.lacking(counts.samples, self.plan.steps_per_epoch)
        missing: dict[str, float] = {"left_out": lost} if (lost := training.batch_size - counts.samples) else {}
        if not counts.samples:
            self.done += 1
            return missing
        lr = learning_rate(self.done, self.plan.steps_per_epoch, training)
        torch.manual_seed(stable_seed("step", self.recipe.seed, self.done, self.place.rank))
        totals: dict[str, Tensor] = {}
        for a, batch in enumerate(micro_batches):
            moved = self.frozen.prepare(batch.to(self.place.device))
            with synced(self.objective, a == len(micro_batches) - 1):
                losses = self.objective(moved.inputs, moved.present_BM, moved.target, counts)
                (losses["loss"] * self.place.size).backward()  # DDP averages; the losses are sums already
            totals = {name: totals.get(name, 0) + loss.detach() for name, loss in losses.items()}
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, training.clip_norm or math.inf))
        values = sum_over_processes(torch.stack(list(totals.values())), self.place).tolist()
        line = dict(zip(totals, values, strict=True))
        self.done += 1
        if not take_step(self.optimizer, lr, norm):
            self._skipped(line, micro_batches)
        return {**line, "lr": lr, "grad_norm": norm, **missing}

    def resume(self) -> None:
        """Continue from the run's LAST checkpoint, exactly: tensors, optimizer, data position, seeds.

        The first process reads it and gives it to all others. With more epochs than the checkpoint's, the
        schedule is that of so many epochs from here on.

        Raises:
            CheckpointError: damaged, or made for other data, weights or batches.
        """
        meta, training = agreement.told_by_first(self.keeper.restore, self.place), self.recipe.training
        self.keeper.follow(meta)
        agreement.share_state(self.model, self.optimizer, self.place)
        self.done, self.skipped.count = meta["step"], meta.get("skipped_steps", 0)
        begun = self.done > 0 or starts_ahead(self.model, training)
        judged = begun and self.done % self.plan.steps_per_epoch == 0  # at the end of an epoch
        self.owes_validation = judged and self.data.validates and not meta["validation"]
        if self.place.main:
            self.run.forget_after(self.done)
            if meta["total_steps"] < self.total:
                self.progress.say(extended(meta["total_steps"], self.done, self.plan.steps_per_epoch, training))

    def _begin(self) -> dict[str, float]:
        """What goes before the first step, validated and kept as the checkpoint of step 0."""
        for line in begin(self.model, self.data, self.recipe, self.place, self.run.folder):
            self.progress.say(line)
        return self._end_epoch() if starts_ahead(self.model, self.recipe.training) or not self.total else {}

    def _skipped(self, losses: dict[str, float], micro_batches: list[Batch]) -> None:
        """Count a step that was not taken; too many end the training, which is saved."""
        training, batches = self.recipe.training, [batch.to(self.place.device) for batch in micro_batches]
        advice = gradient_advice(bf16=training.precision == "bf16", clipped=bool(training.clip_norm))
        cause = advice if all(map(math.isfinite, losses.values())) else explain_batches(self.model, batches)
        try:
            self.skipped.add(self.done, cause)
        except U2AError:
            self._save()
            raise

    def _next(self, batches: Iterator[Batch | Failed]) -> list[Batch]:
        """This step's micro-batches. If any process met bad data or a signal, all save and stop together."""
        fetched = [next(batches) for _ in range(self.recipe.training.accumulation)]
        errors = [one.error for one in fetched if isinstance(one, Failed)]
        good = [one for one in fetched if isinstance(one, Batch)]
        unreadable = self.left_out.unknown(good)
        flags = len(errors), self.stop.asked, self.done, len(unreadable)
        n_errors, stop, steps, n_unreadable = agreement.added_up(flags, self.place)
        if steps != self.done * self.place.size:
            raise U2AError(f"the processes of this training stand at different steps (here: {self.done})")
        if not n_errors and not stop:
            if n_unreadable:
                self.left_out.gather(unreadable, self.done + 1)
            return good
        if self.keeper.saved != self.done:
            self._save()
        self.progress.say(f"stopped after step {self.done}; saved; continue with u2a train {self.run} --resume")
        if n_errors:
            raise errors[0] if errors else U2AError("another process met bad data; its message says which")
        raise KeyboardInterrupt

    def _report(self, losses: dict[str, float]) -> None:
        self.progress.say(*self.skipped.said, *self.frozen.news())
        self.skipped.said.clear()
        if "loss" in losses:
            self.progress.step(self.done, self.epoch, losses)
        lost = {"skipped_steps": self.skipped.count} if self.skipped.count else {}
        self._record("train", {**losses, "samples_per_second": round(self.progress.rate, 2), **lost})

    @property
    def epoch(self) -> int:
        """The epoch of the last step done, counted from 1; 0 before the first."""
        return -(-self.done // self.plan.steps_per_epoch)

    def _record(self, kind: LineKind, values: dict[str, float]) -> None:
        self.stop.add(line := {"type": kind, "step": self.done, "epoch": self.epoch, **values})
        if self.place.main:
            self.run.log(line)
            self.loggers.log({"epoch": self.epoch, **values}, self.done, kind)

    def _end_epoch(self) -> dict[str, float]:
        """Validate if there is something to validate on, and save; without validation the last is the best."""
        try:
            with self.progress.not_training():
                agreement.share_trained_buffers(self.model, self.place)
                validation = self.data.validate(self.model)
        except (U2AError, KeyboardInterrupt):  # a resumed training begins with this validation
            self._save()
            raise
        self.owes_validation = False
        if validation is not None:
            scores = format_scores(validation.scores)
            self.progress.say(f"epoch {self.epoch}/{self.recipe.training.epochs}  validation  {scores}")
            self._record("validation", {**validation.scores, "selected": validation.selected})
        self.keeper.keep(self.done, validation, self._standing())
        self.clock.reset()
        if self._out_of_patience() and self.done < self.total:
            self.progress.say(f"no better validation in {self.keeper.stale} epochs: the training ends here")
        return validation.scores if validation else {}

    def _out_of_patience(self) -> bool:
        return 0 < self.recipe.training.patience <= self.keeper.stale

    def _save(self) -> None:
        self.keeper.save(self.done, None, self._standing())
        self.clock.reset()

    def _standing(self) -> dict[str, Any]:
        return {"skipped_steps": self.skipped.count, "left_out": self.left_out.counts}
