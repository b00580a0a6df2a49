"""Samples of many callers in one batch; what one does wrong; what waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from u2a.errors import U2AError
from u2a_serve.batching import Batcher
from u2a_serve.cores import Cores
from u2a_serve.gate import Gate
from u2a_serve.refusals import Refused


class Recorded:
    """A batcher of numbers, and the batches that it made; a negative number cannot be predicted."""

    def __init__(self, size: int, delay: float, coming: int) -> None:
        self.batches: list[list[int]] = []
        self.batcher = Batcher(self._predict, size, delay, lambda: coming, lambda *_: None)

    def _predict(self, examples: Sequence[Any], coverages: Sequence[Any]) -> list[Any]:
        self.batches.append(list(examples))
        if any(example < 0 for example in examples):
            raise U2AError("a bad one")
        return [10 * example for example in examples]

    async def all_of(self, *examples: int) -> list[Any]:
        work = asyncio.create_task(self.batcher.run())
        asked = [self.batcher.predict(example, None) for example in examples]  # type: ignore[arg-type]
        found = await asyncio.gather(*asked, return_exceptions=True)
        work.cancel()
        self.batcher.close()
        return found


def test_what_comes_together_is_predicted_together() -> None:
    made = Recorded(size=4, delay=60, coming=6)
    answers = asyncio.run(made.all_of(1, 2, 3, 4))
    assert (answers, made.batches) == ([10, 20, 30, 40], [[1, 2, 3, 4]])


def test_nobody_waits_for_those_who_are_not_on_their_way() -> None:
    made = Recorded(size=32, delay=3600, coming=1)
    assert asyncio.run(asyncio.wait_for(made.all_of(1), 60)) == [10]


def test_nobody_waits_longer_than_the_delay() -> None:
    made = Recorded(size=32, delay=0.05, coming=5)
    assert asyncio.run(made.all_of(1, 2)) == [10, 20]
    assert made.batches == [[1, 2]]


def test_a_batch_is_no_larger_than_asked_and_each_sample_has_its_own_coverage() -> None:
    batches: list[list[Any]] = []

    def predict(examples: Sequence[Any], coverages: Sequence[Any]) -> list[Any]:
        batches.append(list(examples))
        return list(zip(examples, coverages, strict=True))

    async def ask() -> list[Any]:
        batcher = Batcher(predict, 2, 0.05, lambda: 5, lambda *_: None)
        work = asyncio.create_task(batcher.run())
        asked = [batcher.predict(n, n / 10 if n % 2 else None) for n in range(1, 6)]  # type: ignore[arg-type]
        found = await asyncio.gather(*asked)
        work.cancel()
        batcher.close()
        return found

    assert asyncio.run(ask()) == [(1, 0.1), (2, None), (3, 0.3), (4, None), (5, 0.5)]
    assert batches == [[1, 2], [3, 4], [5]]


def test_a_bad_one_costs_nobody_else() -> None:
    made = Recorded(size=8, delay=60, coming=8)
    answers = asyncio.run(made.all_of(1, 2, 3, -4, 5, 6, 7, 8))
    assert [a for a in answers if not isinstance(a, U2AError)] == [10, 20, 30, 50, 60, 70, 80]
    assert isinstance(answers[3], U2AError)
    assert len(made.batches) == 7  # halves, not one by one: 8, 4 4, 2 2, 1 1


def test_a_caller_who_is_gone_is_not_predicted() -> None:
    made = Recorded(size=8, delay=0.2, coming=8)

    async def one_leaves() -> Any:
        work = asyncio.create_task(made.batcher.run())
        leaving, staying = (asyncio.create_task(made.batcher.predict(n, None)) for n in (1, 2))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        leaving.cancel()
        answer = await staying
        work.cancel()
        return answer

    assert asyncio.run(one_leaves()) == 20
    assert made.batches == [[2]]


def test_a_gate_holds_samples_and_bytes_and_gives_them_back() -> None:
    gate = Gate(samples=10, body=100)
    with gate.enter() as one, gate.enter() as other:
        one.body(60)
        one.samples(8)
        with pytest.raises(Refused) as full:
            other.body(50)
        assert (full.value.status, full.value.headers["Retry-After"]) == (503, "1")
        with pytest.raises(Refused):
            other.samples(3)
        other.samples(2)
        with pytest.raises(Refused), gate.enter():
            pass
        for _ in range(100):
            gate.took(20.0, 10)
        assert gate.full().headers["Retry-After"] == "20"  # ten inside, two seconds each
    assert (gate.inside, gate.bytes_inside) == (0, 0)
    gate.draining = True
    with pytest.raises(Refused, match="503"), gate.enter():
        pass


def test_the_network_has_the_cores_that_reading_leaves_free() -> None:
    cores = Cores(8)
    assert cores.for_network(reading=True) == 8  # nothing is known yet
    cores.read(0.030)
    cores.passed(0.010)
    assert cores.for_network(reading=True) == 2  # a quarter of the work
    assert cores.for_network(reading=False) == 8
    for _ in range(100):
        cores.passed(0.270)
    assert cores.for_network(reading=True) == 7  # nine tenths
    for _ in range(100):
        cores.passed(0.0001)
    assert cores.for_network(reading=True) == 1
