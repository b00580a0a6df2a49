"""What runs on the cluster's processes. A `U2AError` goes back as a value: Ray would try it again."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from u2a.common.terminal import console, out
from u2a.contract.engines import Training
from u2a.errors import LostTouch, U2AError

#: Set by SIGTERM in a process of Ray Train; its training is saved and stops after the step that it is in.
_asked = threading.Event()


@dataclass(frozen=True)
class Refused:
    """A user's mistake that a process met."""

    text: str


class Voice(io.TextIOBase):
    """A stream that is heard where the command was given."""

    def __init__(self, queue: Any, stream: str) -> None:
        self._queue, self._stream = queue, stream

    def write(self, text: str) -> int:
        with suppress(Exception):  # nobody hears it: no reason to stop a training
            self._queue.put((self._stream, text))
        return len(text)


def obey_sigterm() -> None:
    """Let SIGTERM ask for a stop; for a process's main thread, while trainings run beside it."""
    signal.signal(signal.SIGTERM, lambda signum, frame: _asked.set())


@dataclass
class Reporter:
    """Hands each epoch's records to Ray in one report: as many reports on every process.

    When the next epoch begins, or the run is whole: Tune may end a process at its last report, and which epoch
    is the last one, the data decides.
    """

    send: Callable[[dict[str, Any]], None]  # ray.train.report or ray.tune.report
    stop: Callable[[], bool]  # whether the training should end
    _held: dict[str, Any] = field(default_factory=dict)

    def __call__(self, record: Mapping[str, Any]) -> bool:
        if self._held and record["epoch"] != self._held["epoch"]:
            self.flush()
        self._held |= {key: value for key, value in record.items() if key != "type"}
        return self.stop()

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, {}
        if held:
            self.send(held)


def trained(training: Training, reporter: Reporter) -> bool | Refused:
    """Run a training to its end.

    Raises:
        LostTouch, RuntimeError: to be tried again.
    """
    try:
        left = training(reporter)
    except LostTouch:
        raise
    except U2AError as error:
        console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return Refused(str(error))
    except KeyboardInterrupt:
        raise RuntimeError("asked to stop; what was trained is saved") from None
    reporter.flush()
    return left


def on_train(config: dict[str, Any]) -> bool | Refused:
    """Ray Train's loop, on each process of its group."""
    from ray import train

    console.file, out.file = Voice(config["queue"], "stderr"), Voice(config["queue"], "stdout")
    return trained(config["training"], Reporter(train.report, _asked.is_set))


def on_tune(config: dict[str, Any], trainings: list[Training]) -> None:
    """Ray Tune's trial."""
    from ray import tune

    training = trainings[config["number"]]
    ended = trained(training, Reporter(tune.report, lambda: False))
    if isinstance(ended, Refused):
        raise RuntimeError(ended.text)


@dataclass(frozen=True)
class Box:
    """Anything, as it is: Arrow would make other dicts of dicts."""

    held: Any


class Caller:
    """Ray Data's actor: begins once, and then takes items."""

    def __init__(self, begin: Callable[[], Callable[[Any], Any]]) -> None:
        self._begun = _or_refused(begin)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        begun = self._begun
        return {"made": Box(begun if isinstance(begun, Refused) else _or_refused(begun, row["item"].held))}


def _or_refused(call: Callable[..., Any], *of: Any) -> Any:
    try:
        return call(*of)
    except U2AError as error:
        return Refused(str(error))
