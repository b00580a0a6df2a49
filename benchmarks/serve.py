"""A service under load, beside `Model.predict` in batches on the same machine.

usage: python benchmarks/serve.py RUN [--callers 32] [--seconds 20] [--repeats 3]
       python benchmarks/serve.py RUN --rate SAMPLES_A_SECOND [--seconds 60]

Samples a second with so many callers (each sends one sample of the test split, waits, sends the next), and of
`Model.predict` of the same samples, turn by turn, their ratio, and what client, service and
`Model.predict` take of processor time. With Debian's ``hey`` on the path it asks as well (one sample again
and again).
``--rate``: p50, p95 and p99 of callers that come at even times, whether or not the ones before are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import BOUNDARY, Caller, Served, form, samples_of

import u2a


async def under_load(port: int, bodies: list[bytes], callers: int, seconds: float) -> float:
    """Samples a second."""
    end, done = time.monotonic() + seconds, 0

    async def one(n: int) -> None:
        nonlocal done
        caller = Caller(port)
        while time.monotonic() < end:
            status, answer = await caller.ask(bodies[n % len(bodies)])
            assert status == 200, answer
            n, done = n + callers, done + 1
        caller.hang_up()

    begun = time.monotonic()
    await asyncio.gather(*(one(n) for n in range(callers)))
    return done / (time.monotonic() - begun)


def by_hey(port: int, body: bytes, callers: int, seconds: float) -> float:
    """Samples a second of one body again and again, asked by Debian's ``hey``."""
    file = Path("/tmp/u2a-benchmark-body")
    file.write_bytes(body)
    words = ["hey", "-z", f"{seconds:g}s", "-c", str(callers), "-m", "POST", "-D", str(file), "-T"]
    words += [f"multipart/form-data; boundary={BOUNDARY}", f"http://127.0.0.1:{port}/predict"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "[200]" in said, said
    assert said.count("responses") == 1, said
    return float(next(line.split()[1] for line in said.splitlines() if "Requests/sec" in line))


def predicted(model: u2a.Model, samples: list[dict[str, bytes]], seconds: float) -> float:
    """Samples a second of `Model.predict` in batches."""
    begun, done = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        done += len(model.predict(samples))
    return done / (time.monotonic() - begun)


async def at_rate(port: int, bodies: list[bytes], rate: float, seconds: float) -> list[float]:
    """Seconds to each answer, of callers that come at even times."""
    idle: list[Caller] = []
    found: list[float] = []

    async def one(n: int) -> None:
        caller = idle.pop() if idle else Caller(port)
        begun = time.monotonic()
        status, answer = await caller.ask(bodies[n % len(bodies)])
        assert status == 200, answer
        found.append(time.monotonic() - begun)
        idle.append(caller)

    begun, asked = time.monotonic(), []
    for n in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + n / rate - time.monotonic()))
        asked.append(asyncio.create_task(one(n)))
    await asyncio.gather(*asked)
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--serve", default="", help='options of u2a serve: --serve="--readers 1"')
    asked = parser.parse_args()
    model = u2a.load(asked.run)
    samples = samples_of(model)
    served, bodies = Served(asked.run, *asked.serve.split()), [form(sample) for sample in samples]
    try:
        if asked.rate is None:
            load(served, model, samples, bodies, asked)
        else:
            asyncio.run(at_rate(served.port, bodies, asked.rate, 3))
            found = sorted(asyncio.run(at_rate(served.port, bodies, asked.rate, asked.seconds)))
            p50, p95, p99 = (1000 * found[int(share * (len(found) - 1))] for share in (0.5, 0.95, 0.99))
            print(f"{asked.rate:g} samples/s: p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms")
    finally:
        print("exit code", served.stop())


def load(served: Served, model: u2a.Model, samples: Any, bodies: list[bytes], asked: Any) -> None:
    """Turn by turn."""
    ratios: dict[str, list[float]] = {}
    model.predict(samples)
    asyncio.run(under_load(served.port, bodies, asked.callers, 3))
    clients: dict[str, tuple[Any, Callable[[], float]]] = {
        "Python": (samples, lambda: asyncio.run(under_load(served.port, bodies, asked.callers, asked.seconds)))
    }
    if shutil.which("hey"):
        one = samples[:1] * len(samples)
        clients["hey"] = (one, lambda: by_hey(served.port, bodies[0], asked.callers, asked.seconds))
    for _ in range(asked.repeats):
        for name, (same, ask) in clients.items():
            alone, _, own = timed(lambda same=same: predicted(model, same, asked.seconds), served)
            rate, its, client = timed(ask, served)
            ratios.setdefault(name, []).append(rate / alone)
            line = (
                f"{name}: {rate:.1f}/s of Model.predict's {alone:.1f}/s: {rate / alone:.2f}; processor time a "
            )
            line += (
                f"sample {own:.1f} ms of Model.predict, {its:.1f} of the service, {client:.1f} of the client"
            )
            print(line, flush=True)
    for name, found in ratios.items():
        print(f"{name}: median ratio {statistics.median(found):.2f}")


def timed(work: Callable[[], float], served: Served) -> tuple[float, float, float]:
    """Its samples a second; ms of processor time a sample, of the service, and here (with what is started)."""
    begun, before, its = time.monotonic(), os.times(), served.cpu()
    rate = work()
    after, samples = os.times(), rate * (time.monotonic() - begun)
    return rate, 1000 * (served.cpu() - its) / samples, 1000 * (sum(after[:4]) - sum(before[:4])) / samples


if __name__ == "__main__":
    main()
