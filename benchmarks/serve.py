"""A service under load, beside `Model.predict` in batches on the same machine.

usage: python benchmarks/serve.py RUN [--callers 32] [--seconds 20] [--repeats 3]
       python benchmarks/serve.py RUN --rate SAMPLES_A_SECOND [--seconds 60]

Samples a second with so many callers (each sends one sample of the test split, waits, sends the next), and of
`Model.predict` of the same samples, turn by turn, and their ratio. With Debian's ``hey`` on the path it asks as
well (one sample again and again): a client written in Python takes much of a small machine.
``--rate``: p50, p95 and p99 of callers that come at even times, whether or not the ones before are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import time
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
    asked = parser.parse_args()
    model = u2a.load(asked.run)
    samples = samples_of(model)
    served, bodies = Served(asked.run), [form(sample) for sample in samples]
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
    ratios: list[float] = []
    model.predict(samples)
    asyncio.run(under_load(served.port, bodies, asked.callers, 3))
    for _ in range(asked.repeats):
        before = time.process_time()
        alone = predicted(model, samples, asked.seconds)
        own, before = time.process_time() - before, served.cpu()
        rate = asyncio.run(under_load(served.port, bodies, asked.callers, asked.seconds))
        its = served.cpu() - before
        ratios.append(rate / alone)
        line = f"Model.predict {alone:.1f}/s, {asked.callers} callers {rate:.1f}/s: {rate / alone:.2f}"
        line += f"; processor time a sample {1000 * own / alone / asked.seconds:.1f} ms and "
        line += f"{1000 * its / rate / asked.seconds:.1f} ms"
        if shutil.which("hey"):
            again = by_hey(served.port, bodies[0], asked.callers, asked.seconds)
            same_one = predicted(model, samples[:1] * len(samples), asked.seconds)
            line += f"; hey {again:.1f}/s of {same_one:.1f}/s: {again / same_one:.2f}"
        print(line, flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
