"""What a plugin brings besides modalities: loggers and metrics. Typing only, so that listing stays quick."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, get_args

from u2a.errors import PluginError
from u2a.modality import API_VERSION, SUPPORTED_API, ModalitySpec
from u2a.reserved import check_name

if TYPE_CHECKING:
    from torch import Tensor

    from u2a.plugins import Owner

#: Names of whatever plugins bring; of modalities in recipes and in shards alike.
NAME = r"[a-z][a-z0-9_]*"
#: File extensions, as members of shards have them.
EXTENSION = r"[a-z0-9][a-z0-9._+-]*"
TaskKind = Literal["single_label", "multi_label"]
LineKind = Literal["train", "validation"]


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
        api: the contract version that the plugin was made for.
    """

    name: str
    open: Callable[[Path, Mapping[str, Any], int], Logger]
    help: str = ""
    module: str = ""
    install: str = ""
    api: int = API_VERSION

    @property
    def ready(self) -> bool:
        """Whether the library that it needs is installed."""
        try:
            return not self.module or find_spec(self.module) is not None
        except Exception:  # of a dotted name, the parent is imported
            return False


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
        api: the contract version that the plugin was made for.
    """

    name: str
    task_kinds: tuple[TaskKind, ...]
    compute: Callable[[Tensor, Tensor, int], float]
    higher_is_better: bool = True
    help: str = ""
    api: int = API_VERSION


S = TypeVar("S", LoggerSpec, MetricSpec, ModalitySpec)


def check_logger(spec: object) -> None:
    """Refuse a registration that is no usable `LoggerSpec`.

    Raises:
        PluginError: with what the contract wants.
    """
    spec = checked_spec("logger", LoggerSpec, spec)
    if not callable(spec.open):
        raise PluginError(f"logger {spec.name!r}: open must be callable")


def check_metric(spec: object) -> None:
    """Refuse a registration that is no usable `MetricSpec`.

    Raises:
        PluginError: with what the contract wants.
    """
    spec = checked_spec("metric", MetricSpec, spec)
    if not callable(spec.compute):
        raise PluginError(f"metric {spec.name!r}: compute must be callable")
    if not isinstance(spec.higher_is_better, bool):
        raise PluginError(f"metric {spec.name!r}: higher_is_better must be True or False")
    kinds = get_args(TaskKind)
    if not isinstance(spec.task_kinds, tuple) or not spec.task_kinds or set(spec.task_kinds) - set(kinds):
        raise PluginError(
            f"metric {spec.name!r}: task_kinds must be a tuple of {' and '.join(map(repr, kinds))}"
        )


def checked_spec(what: str, wanted: type[S], spec: object) -> S:
    """A registration of any kind, once its type, contract version and name are right.

    Raises:
        PluginError: with what the contract wants.
    """
    if not isinstance(spec, wanted):
        raise PluginError(f"register() wants a {wanted.__name__}, got {type(spec).__name__}")
    if spec.api not in SUPPORTED_API:
        versions = ", ".join(map(str, SUPPORTED_API))
        raise PluginError(
            f"{what} {spec.name!r} was made for contract version {spec.api}; this u2a runs version {versions}"
        )
    if not isinstance(spec.name, str) or not re.fullmatch(NAME, spec.name):
        raise PluginError(f"{what} name {spec.name!r} is not made of lower-case letters, digits and _")
    check_name(what, spec.name)
    for part in ("help", "module", "install"):
        if not isinstance(getattr(spec, part, ""), str):
            raise PluginError(f"{what} {spec.name!r}: {part} must be text")
    return spec


@dataclass
class Shelf(Generic[S]):
    """Registrations of one kind by name, in the order they came, and who brought them.

    A name that several distributions bring belongs to none of them: `specs` has each as ``DISTRIBUTION:NAME``.

    Args:
        own_stay: what u2a itself brings cannot be brought by others as well.
    """

    what: str
    check: Callable[[object], None]
    own_stay: bool = False
    brought: dict[str, list[tuple[Owner, S]]] = field(default_factory=dict)

    def add(self, owner: Owner, spec: S) -> None:
        """Take one registration.

        Raises:
            PluginError: it breaks the contract, or its name is taken.
        """
        self.check(spec)
        for other, _ in self.brought.get(spec.name, []):
            if other.distribution == owner.distribution or (self.own_stay and other.distribution == "u2a"):
                raise PluginError(f"{self.what} {spec.name!r} is already registered by {other}")
        self.brought.setdefault(spec.name, []).append((owner, spec))

    def _each(self) -> Iterator[tuple[str, Owner, S]]:
        for name, several in self.brought.items():
            for owner, spec in several:
                yield (name if len(several) == 1 else f"{owner.distribution}:{name}"), owner, spec

    @property
    def specs(self) -> dict[str, S]:
        """The registrations by name."""
        return {name: spec for name, _, spec in self._each()}

    @property
    def owners(self) -> dict[str, Owner]:
        """Who brought each."""
        return {name: owner for name, owner, _ in self._each()}

    def find(self, name: str, distribution: str | None = None) -> str | None:
        """The name in `specs` of what is called ``NAME`` or ``DISTRIBUTION:NAME``; None if nobody brings it.

        Args:
            distribution: whose, if several bring it and the name does not say.

        Raises:
            PluginError: several bring it, and it is not said whose is meant.
        """
        said, _, plain = name.rpartition(":")
        several = [owner for owner, _ in self.brought.get(plain, [])]
        if not said and len(several) == 1:
            return plain
        for owner in several:
            if owner.distribution == (said or distribution):
                return plain if len(several) == 1 else f"{owner.distribution}:{plain}"
        if said or not several:
            return None
        whose = " and ".join(map(str, several))
        raise PluginError(
            f"{self.what} {plain!r} is brought by {whose}; say whose is meant, for example "
            f'"{several[0].distribution}:{plain}", or leave one out with --no-plugin {several[-1].plugin}'
        )

    def describe(self, name: str) -> str:
        """``logger 'x' (plugin 'y' of z 1.0)``."""
        return f"{self.what} {name!r} ({self.owners[name]})"

    def unknown(self, name: str, known: Iterable[str] | None = None) -> str:
        """Say that no plugin brings `name`, with the nearest name and all of `known` (default: everything)."""
        names = sorted(self.specs if known is None else known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f'; did you mean "{near[0]}"?' if near else ""
        installed = ", ".join(names) or "none"
        return f"no installed plugin brings the {self.what} {name!r}{guess} (installed: {installed})"
