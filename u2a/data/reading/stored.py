"""A shard of a split: what is kept of it in memory, and the shard open in this process.

Shape suffixes: S samples of the shard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2a.contract.paths import is_url
from u2a.data.shards.index import ShardIndex
from u2a.data.storage.cache import Cache, RemoteShard
from u2a.data.storage.local import ShardFile

#: Shards that a process keeps open at once.
OPEN_SHARDS = 64


@dataclass(frozen=True)
class StoredShard:
    """What a split keeps of each shard in memory."""

    address: str
    index: Path
    bytes: int
    sha256: str
    columns: dict[str, int]  # modality -> column of the index
    class_ids: NDArray[np.int64]  # the shard's class numbers -> the recipe's
    samples: int
    used_S: NDArray[np.bool_] | None  # which samples have any of the recipe's modalities; None: all

    @cached_property
    def rows(self) -> NDArray[np.int64] | None:
        """Where those are in the index."""
        return None if self.used_S is None else np.flatnonzero(self.used_S)


class OpenShard:
    """A shard and its index, open in this process."""

    def __init__(self, shard: StoredShard, cache: Cache) -> None:
        self.index = ShardIndex(shard.address, shard.index)
        self.read: Callable[[int, int], bytes]
        if is_url(shard.address):
            self.read = partial(cache.read, RemoteShard(shard.address, shard.bytes, shard.sha256))
        else:
            self.read = ShardFile(Path(shard.address), shard.bytes).read


def opener(shards: list[StoredShard], cache: Cache) -> Callable[[int], OpenShard]:
    return lru_cache(OPEN_SHARDS)(lambda number: OpenShard(shards[number], cache))
