"""Which shards are fetched ahead, and which go when room is needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import toys
from servers import WebServer

from u2a.common.distributed import World
from u2a.common.files import sha256_file
from u2a.data.storage.cache import Cache, RemoteShard
from u2a.data.storage.locks import EXCLUSIVE, Lock
from u2a.data.storage.room import reserve
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    return toys.make(
        tmp_path_factory.mktemp("remote"), checkpoints, counts={"train": 40, "test": 4}, shard_size=4
    )


@pytest.fixture
def server(toy: Path) -> Iterator[WebServer]:
    made = WebServer(toy.parent / "shards")
    yield made
    made.stop()


def test_shards_arrive_before_they_are_asked_for(toy: Path, server: WebServer, tmp_path: Path) -> None:
    sets = [f"data.shards={server.url}", f"data.cache_dir={tmp_path / 'cache'}", "training.batch_size=2"]
    place = World(0, 1, 0, 1, torch.device("cpu"))
    made = Trainer(load_recipe(toy, sets), Run(tmp_path / "run"), place)
    batches = iter(made.data.loader(0, made.total))
    next(batches)  # reads two of the ten shards at most
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "cache/shards").glob("*.tar"))) < 10:
        assert time.monotonic() < deadline, "nothing is fetched ahead"
        time.sleep(0.05)


def test_room_that_somebody_is_filling_is_taken(tmp_path: Path) -> None:
    """Two fetches at once may not both have the last of it; one that died leaves its room to others."""
    (tmp_path / f"{'a' * 64}.tar").write_bytes(bytes(30))
    with Lock(tmp_path / f"{'a' * 64}.use", EXCLUSIVE), Lock(tmp_path / f"{'b' * 64}.get", EXCLUSIVE):
        assert reserve(tmp_path, "b" * 64, 50, 100)  # 80 of 100
        assert not reserve(tmp_path, "c" * 64, 21, 100)
        assert reserve(tmp_path, "d" * 64, 20, 100)
    assert reserve(tmp_path, "c" * 64, 70, 100)


@pytest.mark.parametrize("by_name", [1, -1])
def test_of_two_unused_shards_the_one_used_longer_ago_goes(
    toy: Path, server: WebServer, tmp_path: Path, by_name: int
) -> None:
    paths = sorted((toy.parent / "shards").glob("train-*.tar"))[:3]
    shards = [RemoteShard(f"{server.url}/{p.name}", p.stat().st_size, sha256_file(p)) for p in paths]
    *pair, third = sorted(shards, key=lambda shard: shard.sha256)[::by_name]
    cache = Cache(tmp_path, int(2.5 * max(shard.bytes for shard in shards)))
    for shard in (*pair, pair[0]):  # the first is used again: the second is the one to go
        held = cache.hold(shard)
        assert held is not None
        held.close()
    held = cache.hold(third)
    assert held is not None
    held.close()
    there = {path.stem for path in (tmp_path / "shards").glob("*.tar")}
    assert there == {pair[0].sha256, third.sha256}
