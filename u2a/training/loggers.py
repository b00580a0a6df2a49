"""The loggers of one training: opened, fed, closed; one that fails is told of once and left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from u2a.contract.extensions import LineKind, Logger
from u2a.errors import RecipeError
from u2a.plugins.registry import Registry
from u2a.recipe.sections import Recipe


def check_loggers(recipe: Recipe, plugins: Registry) -> None:
    """Refuse ``training.loggers`` that nobody brings or whose library is not installed.

    A recipe is valid without its loggers, so that a run can be scored where they are not installed.

    Raises:
        RecipeError: names all of them, with what to install.
    """
    faults = []
    for name in recipe.training.loggers:
        spec = plugins.loggers.specs.get(name)
        if spec is None:
            faults.append(plugins.loggers.unknown(name))
        elif not spec.ready:
            faults.append(f"logger {name!r} needs {spec.module}, which is not installed: {spec.install}")
    if faults:
        raise RecipeError("\n".join(f"training.loggers: {fault}" for fault in faults))


class Loggers:
    """A context in which a training's loggers are open.

    Args:
        names: of the loggers; none on all processes but the first.
        folder: the run folder.
        say: is told of loggers that fail.

    Attributes:
        done: steps done already when the context is entered; 0 = a new training.
    """

    def __init__(
        self,
        names: Sequence[str],
        recipe: Recipe,
        plugins: Registry,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.names, self.recipe, self.plugins = tuple(dict.fromkeys(names)), recipe, plugins
        self.folder, self.say = folder, say
        self.done = 0
        self._open: dict[str, Logger] = {}

    def __enter__(self) -> Loggers:
        for name in self.names:
            try:
                spec = self.plugins.loggers.specs[name]
                self._open[name] = spec.open(self.folder, self.recipe.resolved(), self.done)
            except (Exception, SystemExit) as error:  # a stranger's code: anything can come out of it
                self._drop(name, error)
        return self

    def log(self, values: Mapping[str, float], step: int, kind: LineKind) -> None:
        """Hand the values to every logger that still works."""
        for name, logger in list(self._open.items()):
            try:
                logger.log(values, step, kind)
            except Exception as error:
                self._drop(name, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for name, logger in list(self._open.items()):
            try:
                logger.close(error is not None)
            except Exception as fault:
                self._drop(name, fault)

    def _drop(self, name: str, error: BaseException) -> None:
        self._open.pop(name, None)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        self.say(f"{self.plugins.loggers.describe(name)} failed and is left out: {reason}")
