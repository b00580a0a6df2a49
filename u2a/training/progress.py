"""What a training tells the person watching: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.progress import Progress

from u2a.common.terminal import console, progress_bar

PLAIN_SECONDS = 10.0


class TrainingProgress:
    """Progress of a training on the main process; silent on the others.

    Args:
        total: optimizer steps of the whole training.
        clock: seconds that only grow.
    """

    def __init__(
        self, total: int, batch_size: int, *, quiet: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.total, self.batch_size, self.quiet = total, batch_size, quiet
        self.bar: Progress | None = None
        self.first = self.last_done = 0
        self.started = self.spoken = self.clock()
        self.elsewhere = 0.0
        if not quiet and (console.is_terminal or console.is_jupyter):
            self.bar = progress_bar("{task.fields[losses]}")
            self.task = self.bar.add_task("training", total=total, losses="")

    def begin(self, done: int) -> None:
        """The training goes on from here: so many steps are done already."""
        self.first = self.last_done = done
        self.started = self.spoken = self.clock()
        self.elsewhere = 0.0
        if self.bar:
            self.bar.update(self.task, completed=done)

    def __enter__(self) -> TrainingProgress:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()

    @property
    def rate(self) -> float:
        """Samples per second since the start of this process's training, validation and saving left out."""
        elapsed = self.clock() - self.started - self.elsewhere
        return (self.last_done - self.first) * self.batch_size / elapsed if elapsed else 0.0

    @contextmanager
    def not_training(self) -> Iterator[None]:
        """What is done inside does not count as time of training."""
        began = self.clock()
        try:
            yield
        finally:
            self.elsewhere += self.clock() - began

    def step(self, done: int, epoch: int, losses: dict[str, float]) -> None:
        """Tell that `done` steps are done, the last one in `epoch` (from 1)."""
        self.last_done = done
        text = f"epoch {epoch}  loss {losses['loss']:.3f}  task {losses['task_loss']:.3f}"
        text += f"  alignment {losses['alignment_loss']:.3f}  {self.rate:.0f} samples/s"
        if self.bar:
            self.bar.update(self.task, completed=done, losses=text)
        elif not self.quiet and (self.clock() - self.spoken > PLAIN_SECONDS or done == self.total):
            self.spoken = self.clock()
            self.say(f"step {done}/{self.total}  {text}  {self._eta(done)} left")

    def say(self, *lines: str) -> None:
        """Lines, above the bar where there is one."""
        for text in () if self.quiet else lines:
            if self.bar:
                self.bar.console.print(text, highlight=False, markup=False, emoji=False)
            else:
                print(text, file=console.file, flush=True)

    def _eta(self, done: int) -> str:
        seconds = int((self.total - done) * self.batch_size / self.rate) if self.rate else 0
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def format_scores(values: dict[str, Any]) -> str:
    """Scores as a person reads them: ``accuracy 0.912  f1_macro 0.905``."""
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
