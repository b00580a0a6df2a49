"""What a plugin brings besides modalities: loggers, metrics, commands. Typing only: listing is quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from u2a.contract.versions import UNSTATED_API

if TYPE_CHECKING:
    import click
    from torch import Tensor


#: Names of whatever plugins bring; of modalities in recipes and in shards alike.
NAME = r"[a-z][a-z0-9_]*"
#: File extensions, as members of shards have them.
EXTENSION = r"[a-z0-9][a-z0-9._+-]*"
#: A class of a multi-label task is predicted from this probability on, where no other threshold was fitted.
THRESHOLD = 0.5
TaskKind = Literal["single_label", "multi_label"]
LineKind = Literal["train", "validation"]
#: What a metric is made of: the share of samples whose guessed class is right; F1, or average precision, of
#: each class that occurs, averaged over classes; F1 of all decisions at once.
MetricForm = Literal["hits", "class_f1", "class_precision", "pooled_f1"]


class Logger(Protocol):
    """One training's connection to a tool that draws curves. What it raises never stops the training."""

    def log(self, values: Mapping[str, float], step: int, kind: LineKind) -> None:
        """Take what one step (``"train"``) or one validation gave; steps count from 1.

        Args:
            values: names to plain numbers: losses, learning rate and speed, or a validation's scores.
        """
        ...

    def close(self, failed: bool) -> None:
        """The training is over; `failed` if it was stopped or broke off. Called once."""
        ...


@dataclass(frozen=True)
class LoggerSpec:
    """A logger that recipes name in ``training.loggers``.

    Attributes:
        name: e.g. ``"tensorboard"``.
        open: ``open(folder, recipe, done)`` begins a training's log: its run folder, the resolved recipe as
            plain values, and how many steps are done already. 0 = a new training; else the curves that were
            begun go on after that step (keep what is needed for that in the run folder). Called on the first
            process only.
        help: one line for ``u2a plugins list`` and the docs.
        module: the module that `open` imports and that may be missing; ``""`` = none.
        install: how to get it, e.g. ``pip install "u2a[tensorboard]"``.
        api: the contract version that the plugin was made for; 1 if left out.
    """

    name: str
    open: Callable[[Path, Mapping[str, Any], int], Logger]
    help: str = ""
    module: str = ""
    install: str = ""
    api: int = UNSTATED_API

    @property
    def ready(self) -> bool:
        """Whether the library that it needs is installed."""
        return installed(self.module)


@dataclass(frozen=True)
class MetricSpec:
    """A metric that recipes name in ``task.metric``; it is reported for every task that it fits.

    Attributes:
        name: e.g. ``"accuracy"``.
        task_kinds: the tasks it fits: ``"single_label"``, ``"multi_label"`` or both.
        compute: ``compute(probabilities_NC, target, n_classes)`` over all N >= 1 samples of a scenario:
            float32 probabilities (softmax; a sigmoid a class for multi-label), and ``[N]`` class numbers or
            ``[N, C]`` of 0 and 1, both long; on the CPU. Returns a number in 0..1: reports print it in percent.
        higher_is_better: False for errors; decides which checkpoint is the best.
        help: one line for ``u2a plugins list`` and the docs.
        label: what reports call it; its name if empty.
        form: what it is made of: ``"hits"`` (share of samples whose guessed class is right), ``"class_f1"`` or
            ``"class_precision"`` (of each class that occurs, averaged over classes), ``"pooled_f1"`` (F1 of all
            decisions at once). Reports then show its counterpart of each class, and leave out every sample in
            turn for the intervals. None: it is computed anew without one part of the samples after the other.
        headline_of: the tasks that it heads where the recipe names no metric; the first one counts.
        selects_for: the tasks whose best checkpoint it picks where the recipe names no metric.
        api: the contract version that the plugin was made for; 1 if left out.
    """

    name: str
    task_kinds: tuple[TaskKind, ...]
    compute: Callable[[Tensor, Tensor, int], float]
    higher_is_better: bool = True
    help: str = ""
    label: str = ""
    form: MetricForm | None = None
    headline_of: tuple[TaskKind, ...] = ()
    selects_for: tuple[TaskKind, ...] = ()
    api: int = UNSTATED_API

    @property
    def of_decisions(self) -> bool:
        """Whether it asks which classes reach their thresholds, not how probable they are."""
        return self.form in ("class_f1", "pooled_f1")


@dataclass(frozen=True)
class CommandSpec:
    """A command of the command line: ``u2a NAME``, or ``u2a GROUP NAME``.

    Attributes:
        name: as it is typed; no command of u2a's own can be called so.
        load: returns the ``click.Command``. Called when the command, or the list of all, is asked for: what is
            heavy belongs inside the command's function. With ``cls=u2a.cli.base.Command`` it has ``--debug``,
            ``--plugin`` and ``--no-plugin``; a `U2AError` becomes one line and exit code 2 in any case.
        group: the group of u2a's own that it stands in, e.g. ``"data"``; ``""`` = none.
        help: one line for ``u2a plugins list``.
        api: the contract version that the plugin was made for.
    """

    name: str
    load: Callable[[], click.Command]
    group: str = ""
    help: str = ""
    api: int = UNSTATED_API


def installed(module: str) -> bool:
    """Whether a module can be found, without importing it; True for none."""
    try:
        return not module or find_spec(module) is not None
    except Exception:  # of a dotted name, the parent is imported
        return False
