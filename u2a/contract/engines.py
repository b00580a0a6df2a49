"""Engines: where work is done instead of in this process. Typing only: listing is quick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from u2a.contract.extensions import installed
from u2a.contract.versions import UNSTATED_API

A = TypeVar("A")
B = TypeVar("B")
#: Is told of each record of a training (a line of metrics.jsonl), on every process, once what it speaks of is
#: saved. True asks for a stop, as SIGTERM does: the training is saved and ends with `KeyboardInterrupt`.
Report = Callable[[Mapping[str, Any]], "bool | None"]


class Training(Protocol):
    """A training to its end, from what its run folder holds; can be pickled.

    Attributes:
        run: the run folder, a whole path, or an address.
        device: the recipe's ``training.device``.
    """

    @property
    def run(self) -> str: ...
    @property
    def device(self) -> str: ...

    def __call__(self, report: Report) -> bool:
        """Train, on this process's place among all; whether anything was left to do."""
        ...


@dataclass(frozen=True)
class Race:
    """What the trainings of a sweep are compared by while they run.

    Attributes:
        epochs: of the longest one.
        higher_is_better: which way ``selected`` of its validation records is good.
    """

    epochs: int
    higher_is_better: bool


class Engine(Protocol):
    """Where work is done instead of in this process. What it gets can be pickled, and names whole paths.

    Each process needs u2a, the plugins and the files. A `U2AError` that one of them raises is a user's mistake:
    it is raised here, and not tried again, unless it is a `LostTouch`.
    """

    def train(self, training: Training, *, workers: int) -> bool:
        """Run one training on processes that hold a process group of torch together.

        Args:
            training: is called on each, again on new ones where one was lost.
            workers: how many.
        """
        ...

    def sweep(self, trainings: Sequence[Training], *, workers: int, race: Race | None) -> Sequence[str]:
        """Run trainings of one process each, `workers` at a time.

        Args:
            race: those that fall behind may be ended early; None: all run to their end.

        Returns:
            Why each one failed; "" where it did not.
        """
        ...

    def map(
        self, begin: Callable[[], Callable[[A], B]], items: Sequence[A], *, workers: int, device: str
    ) -> Iterator[B]:
        """``begin()(item)`` for every item, in their order; each process begins once."""
        ...


@dataclass(frozen=True)
class EngineSpec:
    """An engine that ``--engine NAME`` names.

    Attributes:
        name: e.g. ``"ray"``.
        load: makes the engine; called when it is used.
        help: one line for ``u2a plugins list``.
        module: the module that it needs and that may be missing; ``""`` = none.
        install: how to get it, e.g. ``pip install "u2a[ray]"``.
        api: the contract version that the plugin was made for.
    """

    name: str
    load: Callable[[], Engine]
    help: str = ""
    module: str = ""
    install: str = ""
    api: int = UNSTATED_API

    @property
    def ready(self) -> bool:
        """Whether the library that it needs is installed."""
        return installed(self.module)
