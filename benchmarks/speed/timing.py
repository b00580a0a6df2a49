"""Two ways to do one thing, measured in turns in one process."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

REPEATS = 7
Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One line of the table: how long `ours` takes beside `floor`, ratios of neighbouring turns."""

    what: str
    against: str
    goal: str
    ours: float
    floor: float
    ratios: tuple[float, ...]
    unit: str = "ms"

    def __str__(self) -> str:
        low, high = min(self.ratios), max(self.ratios)
        ratio = f"**{statistics.median(self.ratios):.3g}** ({low:.3g} to {high:.3g})"
        measured = f"{self.ours:.4g} | {self.floor:.4g} {self.unit}"
        return f"| {self.what} | {self.against} | {measured} | {ratio} | {self.goal} |"


HEAD = "| what | against | ours | that | ratio: median (range) | goal |\n|---|---|---|---|---|---|"


def beside(
    what: str, ours: Work, against: str, floor: Work, goal: str, *, faster: bool = False, repeats: int = REPEATS
) -> Row:
    """Both in turns, after one turn that does not count.

    Args:
        faster: the ratio is floor / ours (times faster), not ours / floor.
    """
    ours(), floor()
    pairs = []
    for turn in range(repeats):
        if turn % 2:
            second, first = seconds(floor), seconds(ours)
        else:
            first, second = seconds(ours), seconds(floor)
        pairs.append((first, second))
    ratios = tuple((b / a if faster else a / b) for a, b in pairs)
    middle = [statistics.median(column) * 1000 for column in zip(*pairs, strict=True)]
    return Row(what, against, goal, middle[0], middle[1], ratios)


def seconds(work: Work) -> float:
    """Wall-clock seconds of one call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def machine() -> Iterator[str]:
    """What a reader must know of the machine."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    yield f"{model}, {os.cpu_count()} logical CPUs, {threads} threads, load {load:.1f} at the start"
    yield f"torch {torch.__version__}, Python {platform.python_version()}"
    if torch.cuda.is_available():
        yield torch.cuda.get_device_name()
