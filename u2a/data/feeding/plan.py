"""The plan: which samples each optimizer step uses, with which presence, on which process.

The plan is a function of (data, seed, batch size) alone. It is the same for any number of workers,
processes or micro-batches, and any step can be computed without the ones before it, so resuming is exact.
Shape suffixes: N samples of the split, B global batch, M modalities in recipe order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from u2a.common.seeds import stable_seed
from u2a.data.feeding.batches import Request
from u2a.data.feeding.lengths import grouped
from u2a.errors import RecipeError
from u2a.method.losses import Counts
from u2a.method.selection import draw_kept, drop_modalities

#: Samples are shuffled within windows of this many shards, so that reading stays nearly sequential.
WINDOW = 32


@dataclass(frozen=True)
class Step:
    """One optimizer step's global batch: places in the split, presence after dropout, and its counts."""

    index_B: np.ndarray
    present_BM: Tensor
    counts: Counts


class TrainingPlan:
    """The batches of a whole training.

    Args:
        present_NM: bool, presence of every sample of the split.
        shard_sizes: samples of each shard, in order.
        use_N: bool, the samples that training uses (a hold-out excludes some).
        batch_size: the global batch.
        seed: of shuffling, dropout and augmentation.
        dropout: draw modality dropout for each step.
        length_N: about how many tokens each sample has; samples of similar length then share batches.
    """

    def __init__(
        self,
        present_NM: np.ndarray,
        shard_sizes: list[int],
        *,
        use_N: np.ndarray,
        batch_size: int,
        seed: int,
        dropout: bool,
        length_N: np.ndarray | None = None,
    ) -> None:
        self.present_NM, self.use_N, self.length_N = present_NM, use_N, length_N
        self.starts = np.concatenate([[0], np.cumsum(shard_sizes)])
        #: How many samples of each shard training uses.
        self.used_per_shard = np.diff(np.concatenate([[0], np.cumsum(use_N)])[self.starts])
        self.batch_size, self.seed, self.dropout = batch_size, seed, dropout
        self.steps_per_epoch = int(use_N.sum()) // batch_size
        self._orders: dict[int, np.ndarray] = {}
        if self.steps_per_epoch == 0:
            raise RecipeError(
                f"training.batch_size: {batch_size} is more than the {int(use_N.sum())} training samples; "
                f"give a smaller one: --set training.batch_size={max(1, int(use_N.sum()) // 2)}"
            )

    def order(self, epoch: int) -> np.ndarray:
        """The places of all training samples in the order of an epoch, int64."""
        if epoch not in self._orders:
            recent = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders = {**recent, epoch: self._order(epoch)}
        return self._orders[epoch]

    def _order(self, epoch: int) -> np.ndarray:
        windows, draw = self._draw(epoch)
        parts = [self._window(window, draw) for window in windows]
        order = np.concatenate(parts)
        if self.length_N is None:
            return order
        return grouped(order, self.length_N, self.batch_size, np.cumsum([len(part) for part in parts]), draw)

    def windows(self, epoch: int) -> list[np.ndarray]:
        """The numbers of the shards that an epoch reads together, window after window."""
        return self._draw(epoch)[0]

    def _draw(self, epoch: int) -> tuple[list[np.ndarray], np.random.Generator]:
        draw = np.random.default_rng(stable_seed("shuffle", self.seed, epoch))
        shards = draw.permutation(len(self.starts) - 1)
        return [shards[i : i + WINDOW] for i in range(0, len(shards), WINDOW)], draw

    def _window(self, shards: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        places = np.concatenate([np.arange(self.starts[s], self.starts[s + 1]) for s in shards])
        return draw.permutation(places[self.use_N[places]])

    def step(self, t: int) -> Step:
        """Optimizer step t, counted from 0 over all epochs. The samples left over at an epoch's end rest."""
        epoch, s = divmod(t, self.steps_per_epoch)
        index_B = self.order(epoch)[s * self.batch_size : (s + 1) * self.batch_size]
        present_BM = torch.from_numpy(self.present_NM[index_B])
        if self.dropout:
            kept_M = torch.tensor(draw_kept(present_BM.shape[1], self.seed, t))
            present_BM = drop_modalities(present_BM, kept_M)
        return Step(index_B, present_BM, Counts.of(present_BM))

    def requests(self, t: int, rows: slice = slice(None)) -> list[Request]:
        """Step t's samples, or some of its rows, as requests; augmentation depends on place and epoch alone."""
        step, epoch = self.step(t), t // self.steps_per_epoch
        return [
            Request(int(i), tuple(present), stable_seed("augment", self.seed, epoch, int(i)))
            for i, present in zip(step.index_B[rows], step.present_BM[rows].tolist(), strict=True)
        ]


@dataclass(frozen=True)
class TrainingBatches:
    """A batch sampler: one process's micro-batches from one step to another."""

    plan: TrainingPlan
    first: int
    last: int
    rank: int
    world: int
    accumulation: int

    def __iter__(self) -> Iterator[list[Request]]:
        size = self.plan.batch_size // (self.world * self.accumulation)
        for t in range(self.first, self.last):
            for a in range(self.accumulation):
                start = (a * self.world + self.rank) * size
                yield self.plan.requests(t, slice(start, start + size))

    def __len__(self) -> int:
        return (self.last - self.first) * self.accumulation


@dataclass(frozen=True)
class EvaluationBatches:
    """A batch sampler: every one of the given samples exactly once over all processes, in order."""

    places: np.ndarray
    present_NM: np.ndarray
    batch_size: int
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[Request]]:
        mine = self.places[self.rank :: self.world]
        for start in range(0, len(mine), self.batch_size):
            yield [
                Request(int(i), tuple(map(bool, self.present_NM[i])), 0)
                for i in mine[start : start + self.batch_size]
            ]

    def __len__(self) -> int:
        return -(-len(self.places[self.rank :: self.world]) // self.batch_size)


def holdout(n: int, share: float | None, seed: int, groups_N: np.ndarray | None = None) -> np.ndarray:
    """Bool over n training samples, True = held out for validation; drawn once from the seed."""
    held_N = np.zeros(n, bool)
    if share is not None:
        count = max(1, round(n * share))
        order = np.random.default_rng(stable_seed("holdout", seed)).permutation(n)
        held_N[order[:count] if groups_N is None else _whole_groups(order, groups_N, count)] = True
    return held_N


def _whole_groups(order: np.ndarray, groups_N: np.ndarray, count: int) -> list[int]:
    """Up to `count` samples in this order, each with all of its group; a group that is too large stays out."""
    members = np.argsort(groups_N, kind="stable")
    starts = np.searchsorted(groups_N[members], groups_N)
    ends = np.searchsorted(groups_N[members], groups_N, side="right")
    held: dict[int, None] = {}
    for i in order.tolist():
        if i not in held and len(held) + int(ends[i] - starts[i]) <= count:
            held |= dict.fromkeys(members[starts[i] : ends[i]].tolist())
    smallest = order[np.argmin((ends - starts)[order])]
    return list(held) or members[starts[smallest] : ends[smallest]].tolist()
