"""The loggers of one training: opened, fed, closed; one that fails is told of once and left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from u2a.contract.extensions import LineKind
from u2a.errors import PluginError, RecipeError
from u2a.recipe.sections import Recipe
from u2a.training.logger_thread import LoggerThread

#: How long loggers may take to finish after a training, all of them together.
CLOSE_SECONDS = 40.0


def check_loggers(recipe: Recipe) -> None:
    """Refuse ``training.loggers`` that nobody brings or whose library is not installed.

    A recipe is valid without its loggers, so that a run can be scored where they are not installed.

    Raises:
        RecipeError: names all of them, with what to install.
    """
    faults, known = [], recipe.plugins.loggers
    for name in recipe.training.loggers:
        try:
            found = known.find(name)
        except PluginError as error:
            faults.append(str(error))
            continue
        spec = known.specs[found] if found else None
        if spec is None:
            faults.append(known.unknown(name))
        elif not spec.ready:
            faults.append(f"logger {name!r} needs {spec.module}, which is not installed: {spec.install}")
    if faults:
        raise RecipeError("\n".join(f"training.loggers: {fault}" for fault in faults))


class Loggers:
    """A context in which a training's loggers are open; none of them can change, delay or fail the training.

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
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        found = (recipe.plugins.loggers.find(name) or name for name in names)
        self.names, self.recipe, self.known = tuple(dict.fromkeys(found)), recipe, recipe.plugins.loggers
        self.folder, self.say = folder, say
        self.done = 0
        self._open: dict[str, LoggerThread] = {}

    def __enter__(self) -> Loggers:
        for name in self.names:
            open_ = self.known.specs[name].open
            self._open[name] = LoggerThread(partial(open_, self.folder, self.recipe.resolved(), self.done))
        return self

    def log(self, values: Mapping[str, float], step: int, kind: LineKind) -> None:
        """Hand a copy of the values to every logger that still works."""
        for logger in self._open.values():
            logger.log(values, step, kind)
        self._drop_failed()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for logger in self._open.values():
            logger.close(error is not None)
        end = time.monotonic() + CLOSE_SECONDS
        late = [name for name, logger in self._open.items() if not logger.wait(end - time.monotonic())]
        self._drop_failed()
        for name in set(late) & set(self._open):
            self.say(
                f"{self.known.describe(name)} had not finished {CLOSE_SECONDS:g} s after training "
                "and is left behind; what it had not sent is lost, the run folder is whole"
            )

    def _drop_failed(self) -> None:
        for name, logger in list(self._open.items()):
            if logger.fault:
                del self._open[name]
                self.say(f"{self.known.describe(name)} failed and is left out: {logger.fault}")
