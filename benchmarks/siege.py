"""A service among hostile bodies: what it answers, and whether it grows.

usage: python benchmarks/siege.py RUN [--minutes 10] [--callers 8]

One in twenty bodies is damaged, cut off, too large, of many values or hung up; every other answer is held
against `Model.predict`. Memory and descriptors of the service are printed each half minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from typing import Any

from serving import BOUNDARY, Caller, Served, form, samples_of

import u2a


def hostile(draw: random.Random, good: bytes) -> tuple[bytes, str]:
    """A body that is not in order, and its content type."""
    kind, json_kind = f"multipart/form-data; boundary={BOUNDARY}", "application/json"
    damaged = bytearray(good)
    for _ in range(draw.randrange(1, 200)):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    return draw.choice(
        [
            (bytes(damaged), kind),
            (good[: draw.randrange(len(good))], kind),
            (draw.randbytes(draw.randrange(100_000)), kind),
            (draw.randbytes(1000), json_kind),
            (b"[" * draw.randrange(200_000), json_kind),
            (b'{"samples":[' + b"[]," * draw.randrange(200_000) + b"5]}", json_kind),
            (b'{"sample":{"text":"' + b"a" * draw.randrange(2_000_000) + b'"}}', json_kind),
            (b'{"sample":{"image":"' + b"A" * draw.randrange(2_000_000) + b'"}}', json_kind),
            (b'{"samples":[' + b'{"text":"a"},' * 200 + b'{"text":"a"}]}', json_kind),
            (b"x" * 40_000_000, json_kind),
            (b"--" + BOUNDARY.encode() + b"-" * draw.randrange(1_000_000), kind),
            (good, "multipart/form-data"),
            (good, "text/html"),
        ]
    )


class Siege:
    """Callers, one in twenty of whose bodies is hostile; every other answer is checked."""

    def __init__(self, served: Served, samples: list[dict[str, bytes]], expected: list[u2a.Prediction]) -> None:
        self.served, self.samples, self.expected = served, samples, expected
        self.statuses: dict[str, int] = {}
        self.wrong = 0

    async def one(self, n: int, end: float) -> None:
        draw, caller = random.Random(n), Caller(self.served.port)
        while time.monotonic() < end:
            i = draw.randrange(len(self.samples))
            if draw.random() < 0.05:
                await self._attack(draw, caller, form(self.samples[i]))
                continue
            status, answer = await caller.ask(form(self.samples[i]))
            self._count("good", status)
            self.wrong += status != 200 or not same(json.loads(answer)["predictions"][0], self.expected[i])

    async def _attack(self, draw: random.Random, caller: Caller, good: bytes) -> None:
        if draw.random() < 0.1:
            return await caller.send_and_hang_up(good[:1000])
        body, kind = hostile(draw, good)
        try:
            status, _ = await caller.ask(body, kind)
        except (OSError, asyncio.IncompleteReadError):  # refused before it was sent whole
            status = 0
        return self._count("hostile", status)

    def _count(self, what: str, status: int) -> None:
        key = f"{what} {status or 'hung up'}"
        self.statuses[key] = self.statuses.get(key, 0) + 1

    async def watch(self, begun: float, end: float) -> None:
        while time.monotonic() < end:
            memory, descriptors = self.served.held()
            print(f"{time.monotonic() - begun:6.0f} s  {memory:7.1f} MB  {descriptors} descriptors", flush=True)
            await asyncio.sleep(min(30, max(0.1, end - time.monotonic())))

    async def run(self, callers: int, minutes: float) -> None:
        begun = time.monotonic()
        end = begun + 60 * minutes
        await asyncio.gather(self.watch(begun, end), *(self.one(n, end) for n in range(callers)))
        await asyncio.sleep(1)
        memory, descriptors = self.served.held()
        print(f"   end    {memory:7.1f} MB  {descriptors} descriptors")
        print(dict(sorted(self.statuses.items())), f"wrong answers: {self.wrong}")


def same(answered: dict[str, Any], expected: u2a.Prediction) -> bool:
    """Equal to rounding."""
    probabilities = answered["probabilities"]
    return all(abs(probabilities[name] - p) < 1e-5 for name, p in expected.probabilities.items())


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--callers", type=int, default=8)
    asked = parser.parse_args()
    model = u2a.load(asked.run)
    samples = samples_of(model)
    expected = model.predict(samples)
    del model
    served = Served(asked.run)
    try:
        asyncio.run(Siege(served, samples, expected).run(asked.callers, asked.minutes))
    finally:
        print("exit code", served.stop())


if __name__ == "__main__":
    main()
