"""Samples of all callers in one pass of the network: each modality's encoder sees all that have it, at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from u2a.contract.modality import Example
    from u2a.evaluation.predict import Prediction


@dataclass
class Job:
    """One sample that waits.

    Attributes:
        example: what `Predictor.read` made.
        coverage: of its prediction set.
        answer: where its prediction goes.
        since: when it came.
    """

    example: dict[str, Example]
    coverage: float | None
    answer: asyncio.Future[Prediction]
    since: float


Predict = Callable[[Sequence[dict[str, "Example"]], Sequence[float | None]], list["Prediction"]]


class Batcher:
    """Collects samples and predicts them together, one batch after the other, in a thread.

    The first sample of a batch waits for those that are being read as it comes, `delay` seconds at most: a
    service that has one caller makes nobody wait, and one that is full makes large batches.

    Args:
        predict: examples and their coverages to predictions; raises for all of them if one is bad.
        size: samples of a batch at most.
        delay: seconds.
        coming: how many samples are being read or wait.
        done: told of each batch: its size, its seconds.
    """

    def __init__(
        self,
        predict: Predict,
        size: int,
        delay: float,
        coming: Callable[[], int],
        done: Callable[[int, float], None],
    ) -> None:
        self._predict, self._size, self._delay = predict, size, delay
        self._coming, self._done = coming, done
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "predict")

    def __len__(self) -> int:
        return len(self._waiting)

    async def predict(self, example: dict[str, Example], coverage: float | None) -> Prediction:
        """The sample's prediction, once its batch is done; or what it raised on its own."""
        job = Job(example, coverage, asyncio.get_running_loop().create_future(), time.monotonic())
        self._waiting.append(job)
        self._arrived.set()
        return await job.answer

    async def run(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._fill()
            count = min(len(self._waiting), self._size)
            jobs = [job for job in (self._waiting.popleft() for _ in range(count)) if not job.answer.done()]
            if not jobs:
                continue
            begun = time.monotonic()
            answers = await loop.run_in_executor(self._thread, self._answers, jobs)
            self._done(len(jobs), time.monotonic() - begun)
            for job, answer in zip(jobs, answers, strict=True):
                _give(job.answer, answer)

    async def _fill(self) -> None:
        """Wait for a batch: all that were on their way are there, it is full, or it waited long enough."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        until, wanted = self._waiting[0].since + self._delay, min(self._size, self._coming())
        while len(self._waiting) < min(wanted, self._coming()):
            left = until - time.monotonic()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _answers(self, jobs: Sequence[Job]) -> list[Prediction | Exception]:
        """Predictions; if a batch fails, of its halves, until those that fail stand alone."""
        try:
            return list(self._predict([job.example for job in jobs], [job.coverage for job in jobs]))
        except Exception as error:  # whatever one sample does must not reach the others
            if len(jobs) == 1:
                return [error]
        half = len(jobs) // 2
        return self._answers(jobs[:half]) + self._answers(jobs[half:])

    def close(self) -> None:
        """No more batches."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _give(where: asyncio.Future[Prediction], answer: Prediction | Exception) -> None:
    if where.done():  # its caller is gone
        return
    if isinstance(answer, Exception):
        where.set_exception(answer)
    else:
        where.set_result(answer)
