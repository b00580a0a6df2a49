"""The loader: what it draws from, and where it may start processes."""

from __future__ import annotations

import multiprocessing
from collections import UserDict
from types import SimpleNamespace
from typing import Any

import torch

from u2a.data.feeding.batches import Batch, make_loader, reading
from u2a.data.feeding.pipe import LARGEST
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


class Numbers(list[int]):
    """Samples that lie on this machine."""

    split = SimpleNamespace(remote_shards=dict)


class Features(UserDict[str, torch.Tensor]):
    """As transformers' processors return: a mapping with methods of its own."""


def made(samples: list[int]) -> Batch:
    """One of each kind that inputs hold."""
    n = len(samples)
    inputs: Any = {
        "ids": {"long": torch.arange(n), "mask": torch.ones(n, 3, dtype=torch.bool), "rows": 3, "name": "a"},
        "pixels": {"large": torch.arange(LARGEST // 4 + 1.0), "half": torch.full((n, 2), 0.1).bfloat16()},
        "own": Features(x=torch.tensor(0.5)),
    }
    return Batch(inputs, torch.ones(n, 3).bool(), torch.tensor(samples), ("k",) * n, torch.tensor(samples))


def test_a_workers_batch_is_the_one_that_it_made() -> None:
    samples: Any = Numbers(range(6))
    collate: Any = made
    with reading(make_loader(samples, [[4, 5]], collate, workers=1)) as read:
        (batch,) = read
    expected = made([4, 5])
    assert batch.keys == expected.keys
    assert batch.index_B.tolist() == [4, 5] == batch.target.tolist()
    assert torch.equal(batch.present_BM, torch.ones(2, 3, dtype=torch.bool))
    assert type(batch.inputs["own"]) is Features
    for name, one in expected.inputs.items():
        for key, value in one.items():
            found = batch.inputs[name][key]
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(found, value, rtol=0, atol=0)
                found[...] = 0  # a plugin may write into its inputs
            else:
                assert found == value
    assert batch.inputs["pixels"]["large"].is_shared()  # too large to copy
    assert not batch.inputs["ids"]["long"].is_shared()  # one in shared memory costs more than all it holds
