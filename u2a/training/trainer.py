"""The trainer: AdamW on the learnable tensors, the paper's schedule, exact resume, one or many processes."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from u2a.common.distributed import World, share_buffers, sum_over_processes
from u2a.common.seeds import stable_seed
from u2a.contract.extensions import LineKind
from u2a.data.feeding.batches import Batch, Failed, reading
from u2a.errors import U2AError
from u2a.evaluation.metrics import higher_is_better
from u2a.method.objective import Objective
from u2a.plugins.registry import Registry
from u2a.recipe.sections import Recipe
from u2a.runs import checkpoint
from u2a.runs.build import build_model
from u2a.runs.folder import Run
from u2a.training.head_start import head_start, parameter_groups
from u2a.training.indexed_data import TrainingData
from u2a.training.loggers import Loggers, check_loggers
from u2a.training.progress import TrainingProgress, format_scores
from u2a.training.streamed_data import StreamingData

MAX_SKIPPED = 10


def learning_rate(t: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """The paper's schedule: 0.1 x lr through warm-up, then ``lr (1 - (t - t_w) / (T - t_w))^power``."""
    training = recipe.training
    warm, total = training.warmup_epochs * steps_per_epoch, training.epochs * steps_per_epoch
    if t < warm:
        return 0.1 * training.lr
    return training.lr * (1 - (t - warm) / (total - warm)) ** training.power


class Trainer:
    """One training: a recipe, a run folder, and this process's place among all.

    Everything the user could have got wrong in recipe and data is checked before the model is built.
    """

    def __init__(self, recipe: Recipe, run: Run, place: World, registry: Registry) -> None:
        self.recipe, self.run, self.place, self.registry = recipe, run, place, registry
        check_loggers(recipe, registry)
        kind = StreamingData if recipe.data.streaming else TrainingData
        self.data = kind(recipe, place, registry)
        self.plan = self.data.plan
        self.total = recipe.training.epochs * self.plan.steps_per_epoch
        self.model = build_model(recipe, registry).to(place.device)
        self.parameters = [parameter for _, parameter in checkpoint.learnable(self.model)]
        training = recipe.training
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, training.lr_factors),
            lr=training.lr,
            eps=training.eps,
            weight_decay=training.weight_decay,
        )
        self.objective: torch.nn.Module = Objective(
            self.model,
            alignment_weight=training.alignment_weight,
            detach_target=training.detach_target,
            exhaustive=training.modality_dropout == "exhaustive",
        )
        if place.size > 1:
            devices = [place.device] if place.device.type == "cuda" else None
            self.objective = DistributedDataParallel(
                self.objective, device_ids=devices, find_unused_parameters=True, broadcast_buffers=False
            )
        self.done, self.saved, self.skipped = 0, -1, 0
        self.best: float | None = None
        self.stop_signal = 0
        self.owes_validation = False

    def fit(self) -> dict[str, Any]:
        """Train from where the run stands to the end; returns the last validation's scores.

        Raises:
            U2AError: bad data, everything done so far is saved; or gradients that are no longer finite.
            KeyboardInterrupt: SIGINT or SIGTERM arrived; everything done so far is saved.
        """
        self.objective.train()
        batch_size = self.recipe.training.batch_size
        progress = TrainingProgress(self.total, self.done, batch_size, quiet=not self.place.main)
        names = self.recipe.training.loggers if self.place.main else ()
        self.loggers = Loggers(names, self.recipe, self.registry, self.run.folder, self.done, progress.say)
        last: dict[str, Any] = {}
        loader = self.data.loader(self.done, self.total)
        with self._signals(), progress, reading(loader) as batches, self.loggers:
            for notice in self.data.notices():
                progress.say(notice)
            if (
                self.done == 0
                and self.saved < 0
                and self.model.read_outs is not None
                and self.recipe.training.head_start
            ):
                summary = head_start(self.model, self.data, self.recipe, self.place)
                print(summary)
                last = self._end_epoch(progress)
            elif self.owes_validation:
                last = self._end_epoch(progress)
            while self.done < self.total:
                micro_batches = self._next(batches, progress)
                line = self.train_step(micro_batches)
                self._report(line, progress)
                if self.done % self.plan.steps_per_epoch == 0:
                    last = self._end_epoch(progress)
        return last

    def train_step(self, micro_batches: list[Batch]) -> dict[str, float]:
        """One optimizer step over the global batch, of which `micro_batches` are this process's part."""
        counts = self.data.counts(self.done, micro_batches)
        lr = learning_rate(self.done, self.plan.steps_per_epoch, self.recipe)
        torch.manual_seed(stable_seed("step", self.recipe.seed, self.done, self.place.rank))
        totals: dict[str, Tensor] = {}
        for a, batch in enumerate(micro_batches):
            moved = batch.to(self.place.device)
            with self._sync_on(a == len(micro_batches) - 1):
                losses = self.objective(moved.inputs, moved.present_BM, moved.target, counts)
                (losses["loss"] * self.place.size).backward()  # DDP averages; the losses are sums already
            totals = {name: totals.get(name, 0) + loss.detach() for name, loss in losses.items()}
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.training.clip_norm or math.inf)
        self._update(lr, float(norm))
        self.done += 1
        values = sum_over_processes(torch.stack(list(totals.values())), self.place).tolist()
        return {**dict(zip(totals, values, strict=True)), "lr": lr, "grad_norm": float(norm)}

    def _update(self, lr: float, norm: float) -> None:
        """Take the step, unless a gradient is not finite; the norm is the same on every process."""
        if math.isfinite(norm):
            self.skipped = 0
            for group in self.optimizer.param_groups:
                group["lr"] = lr * group["factor"]
            self.optimizer.step()
        else:
            self.skipped += 1
        self.optimizer.zero_grad(set_to_none=True)
        if self.skipped >= MAX_SKIPPED:
            raise U2AError(
                f"step {self.done}: the gradient was not finite {MAX_SKIPPED} times in a row; "
                "lower training.lr, or set training.clip_norm, or use training.precision = fp32"
            )

    @contextlib.contextmanager
    def _sync_on(self, last: bool) -> Iterator[None]:
        ddp = self.objective
        with (
            ddp.no_sync() if isinstance(ddp, DistributedDataParallel) and not last else contextlib.nullcontext()
        ):
            yield

    def _next(self, batches: Iterator[Batch | Failed], progress: TrainingProgress) -> list[Batch]:
        """This step's micro-batches. If any process met bad data or a signal, all save and stop together."""
        fetched = [next(batches) for _ in range(self.recipe.training.accumulation)]
        errors = [one.error for one in fetched if isinstance(one, Failed)]
        device = self.place.device if self.place.size > 1 else "cpu"
        flags = torch.tensor([len(errors), self.stop_signal], device=device)
        n_errors, stop = sum_over_processes(flags, self.place).tolist()
        if not n_errors and not stop:
            return [one for one in fetched if isinstance(one, Batch)]
        if self.saved != self.done:
            self._save({}, best=False)
        progress.say(f"stopped after step {self.done}; saved; continue with: u2a train {self.run} --resume")
        if n_errors:
            raise errors[0] if errors else U2AError("another process met bad data; its message says which")
        raise KeyboardInterrupt

    def _report(self, losses: dict[str, float], progress: TrainingProgress) -> None:
        progress.step(self.done, (self.done - 1) // self.plan.steps_per_epoch, losses)
        self._record("train", {**losses, "samples_per_second": round(progress.rate, 2)})

    def _record(self, kind: LineKind, values: dict[str, float]) -> None:
        if self.place.main:
            epoch = (self.done - (kind == "train")) // self.plan.steps_per_epoch
            self.run.log({"type": kind, "step": self.done, "epoch": epoch, **values})
            self.loggers.log({"epoch": epoch, **values}, self.done, kind)

    def _end_epoch(self, progress: TrainingProgress) -> dict[str, Any]:
        """Validate if there is something to validate on, and save; without validation the last is the best."""
        try:
            for branch in self.model.each_branch():
                if branch.spec.tune == "full":
                    share_buffers(branch.backbone, self.place)
            values = self.data.validate(self.model)
        except (U2AError, KeyboardInterrupt):  # a resumed training begins with this validation
            self._save({}, best=False)
            raise
        self.owes_validation = False
        if values is None:
            self._save({}, best=True)
            return {}
        headline = values.pop("select")
        better = self._is_better(headline)
        self.best = headline if better else self.best
        epoch = self.done // self.plan.steps_per_epoch
        progress.say(f"epoch {epoch}/{self.recipe.training.epochs}  validation  {format_scores(values)}")
        self._record("validation", values)
        self._save(values, best=better)
        return values

    def _is_better(self, value: float) -> bool:
        if self.best is None or math.isnan(self.best):
            return True
        return value >= self.best if higher_is_better(self.recipe.task.headline) else value <= self.best

    def _save(self, values: dict[str, float], *, best: bool) -> None:
        if self.place.main:
            meta = self._meta(values)
            checkpoint.save_checkpoint(
                self.run.checkpoints, self.done, self.model, self.optimizer, meta, best=best
            )
        self.saved = self.done

    def _meta(self, values: dict[str, float]) -> dict[str, Any]:
        return {
            "steps_per_epoch": self.plan.steps_per_epoch,
            "total_steps": self.total,
            "best": self.best,
            "validation": values,
            "data_fingerprint": self.data.fingerprint,
            "classes": list(self.recipe.task.classes),
            "modalities": checkpoint.describe_modalities(self.model),
        }

    def resume(self) -> None:
        """Continue from the run's LAST checkpoint, exactly: tensors, optimizer, data position, seeds.

        Raises:
            CheckpointError: damaged, or made for other data, weights or batches.
        """
        folder = checkpoint.current(self.run.checkpoints, "LAST")
        meta = checkpoint.load_adapter(folder, self.model)
        for key, mine in (("data_fingerprint", self.data.fingerprint), ("total_steps", self.total)):
            if meta[key] != mine:
                what = "the training data has" if key == "data_fingerprint" else "the schedule's length has"
                raise U2AError(f"{self.run}: cannot resume: {what} changed since ({meta[key]} is now {mine})")
        checkpoint.load_optimizer(folder, self.model, self.optimizer)
        self.done = self.saved = meta["step"]
        self.best = meta["best"]
        at_the_end_of_an_epoch = self.done > 0 and self.done % self.plan.steps_per_epoch == 0
        self.owes_validation = at_the_end_of_an_epoch and not meta["validation"]
        if self.place.main:
            self.run.forget_after(self.done)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM ask for a stop after this step, which is saved; asked again, stop at once.

        Many processes stop together only: torchrun passes every signal on, so theirs come twice anyway.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(signum: int, frame: FrameType | None) -> None:
            again, self.stop_signal = bool(self.stop_signal), signum
            if again and self.place.size == 1:
                raise KeyboardInterrupt

        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
