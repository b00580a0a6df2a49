"""From a request's body to its predictions: read in threads, predicted in batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from u2a.common.cores import cores
from u2a.errors import U2AError
from u2a_serve.batching import Batcher
from u2a_serve.bodies import Given, parse, read_body
from u2a_serve.cores import Cores
from u2a_serve.gate import Gate
from u2a_serve.limits import Limits
from u2a_serve.measures import Measures
from u2a_serve.readers import Read, Readers
from u2a_serve.refusals import Fault, Refused

if TYPE_CHECKING:
    from starlette.requests import Request

    from u2a.contract.modality import Example
    from u2a.evaluation.predict import Prediction
    from u2a.evaluation.trained import Model

#: A body up to so many bytes is parsed and read in one go: it stays in memory until then.
AT_ONCE = 2**20
#: Unless more are asked for: each takes memory, and so many read faster than most networks predict.
MOST_READERS = 8


@dataclass(frozen=True)
class Settings:
    """How a service works.

    Attributes:
        batch: samples of a batch at most.
        delay: seconds that a sample waits for others at most.
        waiting: samples that may be inside at once; more are answered with 503.
        bodies: bytes of bodies that may be inside at once.
        readers: processes that read samples.
        limits: of a request.
        token: callers must give it; None = they need none.
    """

    batch: int = 32
    delay: float = 0.1
    waiting: int = 256
    bodies: int = 256 * 2**20
    readers: int = 0
    limits: Limits = field(default_factory=Limits)
    token: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came of one request.

    Attributes:
        predictions: of each sample; None where it has a fault.
        faults: of samples that have none.
    """

    predictions: list[Prediction | None]
    faults: list[Fault]

    def as_dict(self, top: int | None) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = [one.as_dict(top) if one else None for one in self.predictions]
        errors = {"errors": [fault.as_dict() for fault in self.faults]} if self.faults else {}
        return {"predictions": plain, **errors}


class Service:
    """One run's predictions.

    Args:
        model: the run's.
        settings: how it works.
    """

    def __init__(self, model: Model, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.gate = Gate(settings.waiting, settings.bodies)
        self._cores = Cores(torch.get_num_threads())
        readers = settings.readers or min(max(2, cores()), MOST_READERS)
        self._readers = Readers(model.recipe, settings.limits, readers, self._cores.read)
        self.batcher = Batcher(self._predict, settings.batch, settings.delay, lambda: self._coming, self._done)
        self.measures = Measures(model, self.gate, lambda: len(self.batcher))
        self._work: asyncio.Task[None] | None = None
        self._coming = 0  # samples that are being parsed or read, or wait

    def start(self) -> None:
        """Begin to answer; in the event loop."""
        self._work = asyncio.create_task(self.batcher.run())

    async def stop(self) -> None:
        """End; what is inside by now is not answered any more."""
        if self._work:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self.batcher.close()
        self._readers.close()

    @property
    def ready(self) -> bool:
        """Whether requests are answered now."""
        working = self._work is not None and not self._work.done()
        return working and self._readers.ready and not self.gate.draining

    async def answer(self, request: Request, coverage: float | None) -> Answer:
        """The predictions of one request.

        Raises:
            Refused: the request as a whole cannot be answered.
        """
        try:
            self.model.predictor.check_coverage(coverage)
        except U2AError as error:
            raise Refused(422, [Fault(str(error))]) from error
        limits = self.settings.limits
        with self.gate.enter() as place:
            body = await read_body(request, place, limits.body)
            kind = request.headers.get("content-type", "")
            self._coming += 1  # it holds one sample at least
            try:
                samples, read = await self._readers.run(self._open, body, kind)
                del body
                place.samples(len(samples))
            except BaseException:
                self._coming -= 1
                raise
            self._coming += len(samples) - 1
            found = await asyncio.gather(*(self._one(i, one, coverage, read) for i, one in enumerate(samples)))
        faults = [fault for _, of_one in found for fault in of_one]
        return Answer([prediction for prediction, _ in found], faults)

    def _open(self, body: bytes, kind: str) -> tuple[list[dict[str, Given]], Read | None]:
        """A body's samples; of one that is alone also what is read: a way to a thread and back costs time."""
        samples = parse(body, kind, self.settings.limits)
        alone = len(samples) == 1 and len(body) <= AT_ONCE
        return samples, self._readers.read(0, samples[0]) if alone else None

    def _predict(
        self, examples: Sequence[dict[str, Example]], coverages: Sequence[float | None]
    ) -> list[Prediction]:
        """A batch's predictions, on as many threads as reading leaves free; in the batcher's thread."""
        threads = self._cores.for_network(reading=self._coming > len(examples))
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        begun = time.thread_time()
        found = self.model.predictor.predict(examples, coverages)
        self._cores.passed(threads * (time.thread_time() - begun) / len(examples))
        return found

    async def _one(
        self, i: int, given: dict[str, Given], coverage: float | None, read: Read | None
    ) -> tuple[Prediction | None, Sequence[Fault]]:
        try:
            example, faults = read or await self._readers.run(self._readers.read, i, given)
            if faults:
                return self._count(None, faults)
            return self._count(await self.batcher.predict(example, coverage), ())
        except U2AError as error:
            return self._count(None, [Fault(str(error), i)])
        finally:
            self._coming -= 1

    def _count(
        self, prediction: Prediction | None, faults: Sequence[Fault]
    ) -> tuple[Prediction | None, Sequence[Fault]]:
        self.measures.sample(prediction)
        return prediction, faults

    def _done(self, samples: int, seconds: float) -> None:
        self.gate.took(seconds, samples)
        self.measures.batch(samples, seconds)
