"""Samples that a training leaves out since they cannot be read: each told once, counted and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from u2a.common.distributed import World, gather_lists
from u2a.data.feeding.batches import Batch
from u2a.data.feeding.unreadable import NAMED, Unreadable
from u2a.errors import U2AError
from u2a.runs.folder import Run
from u2a.training.agreement import told_by_first


class LeftOut:
    """What ``data.on_error = "skip"`` has left out so far; the same on every process.

    A line in ``metrics.jsonl`` for each sample (type ``unreadable``) is what a resumed training knows of those
    before it.

    Attributes:
        known: what was left out, by split.
    """

    def __init__(self, run: Run, place: World, say: Callable[[str], None]) -> None:
        self.run, self.place, self.say = run, place, say
        self.known: dict[str, set[str]] = {}
        self._empty_steps = 0

    def restore(self) -> None:
        """Know what the run's log tells of."""

        def read() -> list[tuple[str, str]]:
            return [(line["split"], line["sample"]) for line in self.run.lines("unreadable")]

        for split, sample in told_by_first(read, self.place):
            self.known.setdefault(split, set()).add(sample)

    def unknown(self, batches: Sequence[Batch]) -> list[Unreadable]:
        """What this process's part of a step lacks for the first time."""
        known = self.known.get("train", set())
        return [one for one in chain.from_iterable(b.unreadable for b in batches) if one.where not in known]

    def gather(self, mine: Sequence[Unreadable], step: int) -> None:
        """Take what all processes' parts of a step of training lack for the first time."""
        self.add("train", sorted(gather_lists(mine, self.place)), step)

    def add(self, split: str, found: Sequence[Unreadable], step: int) -> None:
        """Take, on every process alike, samples that were left out; those that are known are passed over."""
        known = self.known.setdefault(split, set())
        for one in found:
            if one.where in known:
                continue
            known.add(one.where)
            if self.place.main:
                line = {"type": "unreadable", "step": step, "split": split, "sample": one.where}
                self.run.log({**line, **one.as_dict()})
            if len(known) <= NAMED:
                self.say(f"{split}: left out, cannot be read: {one}")
            elif len(known) == NAMED + 1:
                self.say(f"{split}: more samples cannot be read; all are in {self.run.metrics_file}")

    def lacking(self, n: int, steps_per_epoch: int) -> None:
        """A step had so many samples left.

        Raises:
            U2AError: not one in a whole epoch of steps.
        """
        self._empty_steps = 0 if n else self._empty_steps + 1
        if self._empty_steps >= steps_per_epoch:
            first = next(iter(self.known["train"]))
            raise U2AError(
                f"train: no sample of {self._empty_steps} steps can be read, such as {first}; why is in "
                f"{self.run.metrics_file}"
            )

    @property
    def counts(self) -> dict[str, int]:
        """How many samples of each split were left out."""
        return {split: len(known) for split, known in self.known.items() if known}

    def summary(self) -> list[str]:
        """The last word on them."""
        counts = ", ".join(f"{n} of {split}" for split, n in sorted(self.counts.items()))
        return (
            [f"samples left out, since they cannot be read: {counts}; {self.run.metrics_file}"]
            if counts
            else []
        )
