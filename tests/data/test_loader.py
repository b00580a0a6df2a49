"""The loader: what it draws from, and where it may start processes."""

from __future__ import annotations

import multiprocessing
from typing import Any

import torch

from u2a.data.feeding.batches import make_loader
from u2a.data.feeding.workers import allowed_workers


def test_reading_leaves_the_global_random_numbers_alone() -> None:
    """Dropout draws from them: it would depend on how often data was read."""
    samples: Any = list(range(6))
    before = torch.get_rng_state()
    loader = make_loader(samples, [[0, 1], [2, 5]], list, workers=0)  # type: ignore[arg-type]
    assert [list(loader) for _ in range(2)] == [[[0, 1], [2, 5]]] * 2
    assert torch.equal(torch.get_rng_state(), before)


def test_a_daemon_reads_by_itself() -> None:
    """Of Celery's kind: Python lets it have no children."""
    fork: Any = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    for daemon, wanted in ((True, 0), (False, 3)):
        process = fork.Process(target=lambda: there.send(allowed_workers(3)), daemon=daemon)
        process.start()
        assert here.recv() == wanted
        process.join()
