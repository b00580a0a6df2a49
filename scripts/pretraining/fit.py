"""The training loop that the three pretrainings share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn


def make(function: Callable[[int], Any], count: int, first: int = 0) -> list[Any]:
    """``function`` of the seeds first .. first + count - 1, on all processors."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(function, range(first, first + count), chunksize=256))


def fit(
    name: str,
    modules: Sequence[nn.Module],
    loss_of: Callable[[Tensor], Tensor],
    count: int,
    epochs: int,
    lr: float,
    batch: int = 128,
) -> None:
    """AdamW with a short warm-up and a cosine to zero; ``loss_of`` gets each batch's sample numbers."""
    parameters = [p for module in modules for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.05)
    steps = epochs * (count // batch)

    def factor(step: int) -> float:
        return min((step + 1) / 100, 0.5 * (1 + math.cos(math.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    began = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        batches = torch.randperm(count)[: count // batch * batch].split(batch)
        for numbers in batches:
            loss = loss_of(numbers)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(
            f"{name} epoch {epoch + 1}: {total / len(batches):.3f}, {time.monotonic() - began:.0f} s",
            flush=True,
        )
