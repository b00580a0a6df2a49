"""Fetching the remote shards that a training plan needs next, while it computes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from u2a.data.feeding.batches import Request
from u2a.data.feeding.plan import TrainingBatches, TrainingPlan
from u2a.data.storage.cache import Cache, Handle, RemoteShard
from u2a.errors import U2AError


class PrefetchedBatches:
    """A batch sampler: the batches of another; meanwhile the shards of this window and the next are fetched."""

    def __init__(self, batches: TrainingBatches, cache: Cache, shards: dict[int, RemoteShard]) -> None:
        self.batches, self.cache, self.shards = batches, cache, shards

    def __iter__(self) -> Iterator[list[Request]]:
        fetcher = _Fetcher(Cache(self.cache.folder, self.cache.limit))
        plan, t = self.batches.plan, self.batches.first
        try:
            for n, requests in enumerate(self.batches):
                if n % self.batches.accumulation == 0:
                    fetcher.want([self.shards[s] for s in upcoming(plan, t) if s in self.shards])
                    t += 1
                yield requests
        finally:
            fetcher.want(None)

    def __len__(self) -> int:
        return len(self.batches)


def upcoming(plan: TrainingPlan, t: int) -> list[int]:
    """The shards of the window that step `t` begins in, and of the window after it."""
    epoch, s = divmod(t, plan.steps_per_epoch)
    windows = plan.windows(epoch)
    sizes = [plan.used_per_shard[shards].sum() for shards in windows]
    current = int(np.searchsorted(np.cumsum(sizes), s * plan.batch_size, side="right"))
    following = windows[current + 1] if current + 1 < len(windows) else plan.windows(epoch + 1)[0]
    return list(dict.fromkeys([*windows[current].tolist(), *following.tolist()]))


class _Fetcher:
    """A thread that keeps the wanted shards in the cache if there is room; readers tell of faults."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._held: dict[str, Handle] = {}
        self._wanted: list[RemoteShard] | None = []
        self._news = threading.Condition()
        threading.Thread(target=self._run, name="u2a prefetch", daemon=True).start()

    def want(self, shards: list[RemoteShard] | None) -> None:
        """Another list, most urgent first; None ends the thread."""
        with self._news:
            if shards != self._wanted:
                self._wanted = shards
                self._news.notify()

    def _run(self) -> None:
        wanted: list[RemoteShard] | None = []
        while wanted is not None:
            with self._news:
                while self._wanted == wanted:
                    self._news.wait()
                wanted = self._wanted
            names = {shard.sha256 for shard in wanted or ()}
            for sha256 in self._held.keys() - names:
                self._held.pop(sha256).close()
            self._fetch(wanted or [])

    def _fetch(self, wanted: list[RemoteShard]) -> None:
        for shard in wanted:
            if self._wanted is not wanted:
                return
            if shard.sha256 not in self._held:
                handle = None
                with suppress(U2AError):
                    handle = self._cache.hold(shard)
                if handle is None:
                    return
                self._held[shard.sha256] = handle
