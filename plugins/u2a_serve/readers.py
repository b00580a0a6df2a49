"""Samples are read in processes of their own.

Decoding then holds up neither the network nor the requests that come in, and a decoder that crashes takes one
sample with it, not the service.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from u2a.data.preprocessors import build_preprocessors
from u2a.recipe.sections import Recipe
from u2a_serve.bodies import Given
from u2a_serve.limits import Limits
from u2a_serve.refusals import Fault
from u2a_serve.values import Reader

if TYPE_CHECKING:
    from u2a.contract.modality import Example

T = TypeVar("T")
Read = tuple[dict[str, "Example"], list[Fault]]
#: A process made from one that has imported everything once takes little memory and time; not on Windows.
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class Readers:
    """Threads that each have a process to read with.

    Args:
        recipe: the run's.
        limits: of members.
        count: how many.
        took: is told the seconds of processor time that a sample took.
    """

    def __init__(self, recipe: Recipe, limits: Limits, count: int, took: Callable[[float], None]) -> None:
        self._recipe, self._limits, self._took = recipe, limits, took
        self._own, self._starting, self._living = threading.local(), threading.Lock(), set[_Process]()
        self._closed = False
        self._threads = ThreadPoolExecutor(count, "read")
        atexit.register(self._kill)  # before Python waits for its processes: these end by nothing else
        self._begun = [self._threads.submit(self._mine) for _ in range(count)]

    @property
    def ready(self) -> bool:
        """Whether every process has begun."""
        return all(one.done() for one in self._begun)

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call something in one of the threads; there `read` may be called."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def read(self, i: int, given: Mapping[str, Given]) -> Read:
        """What `Reader.read` says of a sample.

        If its process ends, each modality is read once more by itself: those that end theirs have a fault.
        """
        try:
            return self._read(i, given)
        except EOFError:
            parts = [self._alone(i, name, one) for name, one in given.items()]
        return {n: e for read, _ in parts for n, e in read.items()}, [fault for _, of in parts for fault in of]

    def _alone(self, i: int, name: str, one: Given) -> Read:
        try:
            return self._read(i, {name: one})
        except EOFError:
            return {}, [
                Fault("cannot be read: what decodes it crashes, or needs too much memory", i, name[:100])
            ]

    def _read(self, i: int, given: Mapping[str, Given]) -> Read:
        process = self._mine()
        try:
            found, seconds = process.ask((i, given))
        except (EOFError, OSError):
            del self._own.process
            self._living.discard(process)
            raise EOFError from None
        if isinstance(found, str):
            raise RuntimeError(found)
        self._took(seconds)
        return found  # type: ignore[no-any-return]

    def _mine(self) -> _Process:
        """This thread's process."""
        if not hasattr(self._own, "process"):
            with self._starting:
                if self._closed:
                    raise RuntimeError("the service has ended")
                process = _Process(self._recipe, self._limits)
                self._living.add(process)
            process.wait()
            self._own.process = process
        return self._own.process  # type: ignore[no-any-return]

    def close(self) -> None:
        """What is being read is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._kill()
        atexit.unregister(self._kill)

    def _kill(self) -> None:
        with self._starting:
            self._closed = True
        for process in tuple(self._living):
            process.process.kill()


class _Process:
    """A process that reads, and the pipe to it."""

    def __init__(self, recipe: Recipe, limits: Limits) -> None:
        context: Any = multiprocessing.get_context(_METHOD)
        if _METHOD == "forkserver":
            context.set_forkserver_preload([__name__])
        self.end, there = context.Pipe()
        self.process = context.Process(target=_work, args=(there, recipe, limits), name="u2a-read")
        self.process.start()
        there.close()

    def wait(self) -> None:
        """Until it has begun."""
        try:
            self.end.recv_bytes()
        except (EOFError, OSError):
            raise RuntimeError("a process that reads samples ended as it began") from None

    def ask(self, question: Any) -> Any:
        """Its answer.

        Raises:
            EOFError, OSError: the process is no more.
        """
        self.end.send_bytes(pickle.dumps(question, pickle.HIGHEST_PROTOCOL))
        return pickle.loads(self.end.recv_bytes())


def _work(end: Connection, recipe: Recipe, limits: Limits) -> None:
    """The process: it reads what comes until its pipe is closed.

    A signal to the whole group does not end it: the service finishes what is inside first.
    """
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    torch.set_num_threads(1)
    reader = Reader(recipe, build_preprocessors(recipe), limits)
    try:
        end.send_bytes(b"")
        while True:
            end.send_bytes(_read(reader, *pickle.loads(end.recv_bytes())))
    except (EOFError, OSError):
        return


def _read(reader: Reader, i: int, given: Mapping[str, Given]) -> bytes:
    begun = time.process_time()
    found: Any
    try:
        found = reader.read(i, given)
    except Exception as error:  # a fault of the service or a plugin: told there, as if it were raised there
        found = "".join(traceback.format_exception(error))
    written = BytesIO()
    _Pickler(written, pickle.HIGHEST_PROTOCOL).dump((found, time.process_time() - begun))
    return written.getvalue()


class _Pickler(pickle.Pickler):
    """Tensors as arrays: torch's own way takes shared memory, and a descriptor, for each."""

    def reducer_override(self, one: Any) -> Any:
        if isinstance(one, torch.Tensor) and one.dtype != torch.bfloat16:
            return torch.from_numpy, (one.numpy(),)
        return NotImplemented
