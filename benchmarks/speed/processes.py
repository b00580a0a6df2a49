"""Two processes with a core each beside one with both, and what they tell each other."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from benchmarks.speed.models import CLASSES, Ours, dinov2_small, minilm
from benchmarks.speed.timing import REPEATS, Row

BATCH = 16


def rows(folder: Path) -> Iterator[Row]:
    """All of them."""
    made = Ours([dinov2_small(), minilm()], folder)
    learned = sum(p.numel() for p in made.learned) * 4
    whole = sum(p.numel() for p in made.model.parameters()) * 4
    yield Row(
        "bytes that a process sends in a step",
        "training all of it",
        "reported",
        learned / 1e3,
        whole / 1e3,
        (learned / whole,),
        "kB",
    )
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) == 2:
        pairs = [(_wall(folder, [[cores[0]], [cores[1]]]), _wall(folder, [cores])) for _ in range(3)]
        ratios = tuple(b / a for a, b in pairs)
        ours, floor = (1000 * sum(column) / len(pairs) for column in zip(*pairs, strict=True))
        yield Row(
            "a step of two processes, a core each", "one process on both", "reported", ours, floor, ratios
        )


def _wall(folder: Path, cores: list[list[int]]) -> float:
    """Seconds of a step of the whole batch over so many processes."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with tempfile.TemporaryDirectory() as meeting:
        processes = [
            context.Process(target=_steps, args=(rank, cores, folder, f"{meeting}/store", queue))
            for rank in range(len(cores))
        ]
        for process in processes:
            process.start()
        found = max(queue.get() for _ in processes)
        for process in processes:
            process.join()
    return float(found)


def _steps(rank: int, cores: list[list[int]], folder: Path, meeting: str, queue: Any) -> None:
    os.sched_setaffinity(0, cores[rank])
    torch.set_num_threads(len(cores[rank]))
    encoders = [dinov2_small(), minilm()]
    ours = Ours(encoders, folder)
    if len(cores) > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=len(cores))
        ours.objective = DistributedDataParallel(
            ours.objective, find_unused_parameters=True, broadcast_buffers=False
        )
    torch.manual_seed(rank)
    n = BATCH // len(cores)
    inputs, target = ours.named([one.inputs(n) for one in encoders]), torch.randint(0, len(CLASSES), (n,))
    ours.step(inputs, target)
    start = time.perf_counter()
    for _ in range(REPEATS):
        ours.step(inputs, target)
    queue.put((time.perf_counter() - start) / REPEATS)
    if len(cores) > 1:
        dist.destroy_process_group()
