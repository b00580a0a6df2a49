"""Peak memory of a step, and what a checkpoint costs."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.speed.models import CLASSES, Bare, Ours, dinov2_small, minilm
from benchmarks.speed.steps import PAPER
from benchmarks.speed.timing import Row, beside
from u2a.runs.checkpoint import save_checkpoint


def rows(folder: Path) -> Iterator[Row]:
    """All of them."""
    encoders = [dinov2_small(), minilm()]
    ours = Ours(encoders, folder, *PAPER, "model.lora_rank=1")
    peaks = [(_peak(folder, own=True), _peak(folder, own=False)) for _ in range(3)]
    ratios = tuple(a / b for a, b in peaks)
    yield Row("peak memory of a step", "bare loop", "<= 1.05", *_mean(peaks), ratios, "MB")
    meta = {"modalities": {branch.name: {"base": {}} for branch in ours.model.each_branch()}}
    inputs, target = ours.named([one.inputs(16) for one in encoders]), torch.randint(0, len(CLASSES), (16,))
    ours.step(inputs, target)
    saved = save_checkpoint(folder / "checkpoints", 1, ours.model, ours.optimizer, meta, best=True)
    size = sum(path.stat().st_size for path in saved.iterdir() if path.name.startswith("adapter"))
    frozen = sum(p.numel() * 4 for p in ours.model.parameters() if not p.requires_grad)
    of_frozen = (size / frozen,)
    yield Row(
        "an adapter checkpoint's bytes",
        "the frozen weights",
        "<= 1/400",
        size / 1e3,
        frozen / 1e3,
        of_frozen,
        "kB",
    )
    yield beside(
        "saving a checkpoint, fsync included",
        lambda: save_checkpoint(folder / "checkpoints", 2, ours.model, ours.optimizer, meta, best=True),
        "a step",
        lambda: ours.step(inputs, target),
        "< 1",
    )


def _mean(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return sum(a for a, _ in pairs) / len(pairs), sum(b for _, b in pairs) / len(pairs)


def _peak(folder: Path, *, own: bool) -> float:
    """Peak resident megabytes of a process that takes three steps."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_steps, args=(folder, own, queue))
    process.start()
    found = float(queue.get())
    process.join()
    return found


def _steps(folder: Path, own: bool, queue: multiprocessing.Queue[float]) -> None:
    torch.manual_seed(0)
    encoders = [dinov2_small(), minilm()]
    inputs, target = [encoder.inputs(16) for encoder in encoders], torch.randint(0, len(CLASSES), (16,))
    if own:
        ours = Ours(encoders, folder, *PAPER, "model.lora_rank=1")
        for _ in range(3):
            ours.step(ours.named(inputs), target)
    else:
        bare = Bare(encoders, folder, rank=1)
        for _ in range(3):
            bare.step(inputs, target)
    own_status = Path("/proc/self/status").read_text()  # getrusage's peak begins at what the parent held
    queue.put(int(re.search(r"VmHWM:\s+(\d+) kB", own_status)[1]) / 1e3)  # type: ignore[index]
