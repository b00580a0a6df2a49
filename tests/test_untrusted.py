"""Indexes and shards as damage or an attacker makes them: refused in one line, and nothing else is touched."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import save
from servers import WebServer

from u2a.data.cache import Cache
from u2a.data.index import index_path, write_index
from u2a.data.split import Split, open_split
from u2a.errors import ShardError


def make_tar(path: Path, samples: list[tuple[str, str, dict[str, bytes]]]) -> Path:
    """Samples: key, label, bytes by suffix."""
    with tarfile.open(path, "w") as tar:
        for key, label, members in samples:
            present = [suffix.split(".")[0] for suffix in members]
            declared = json.dumps({"present": present, "label": label}).encode()
            for suffix, data in {"json": declared, **members}.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Three samples with a text, and an index."""
    (tmp_path / "shards").mkdir()
    samples = [(f"k{i}", "x", {"text.txt": b"hello %d" % i}) for i in range(3)]
    path = make_tar(tmp_path / "shards/a.tar", samples)
    write_index(path)
    return path


@pytest.fixture
def server(shard: Path) -> Iterator[WebServer]:
    made = WebServer(shard.parent)
    yield made
    made.stop()


def opened(shard: Path | str, cache: Cache | None = None) -> Split:
    return open_split(
        {"train": str(shard)},
        "train",
        modalities=("text",),
        classes=("x", "y"),
        multi_label=False,
        cache=cache,
    )


def read_index(shard: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its arrays and what it says of the shard."""
    stored = safe_open(index_path(shard), "numpy")
    return {name: stored.get_tensor(name) for name in stored.keys()}, json.loads(stored.metadata()["u2a"])  # noqa: SIM118


def forge_index(shard: Path, arrays: dict[str, Any], says: dict[str, Any]) -> None:
    index_path(shard).write_bytes(save(arrays, metadata={"u2a": json.dumps(says)}))


def refused(shard: Path) -> str:
    with pytest.raises(ShardError) as caught:
        opened(shard).members(0, ("text",))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("escape", ["absolute", "upwards"])
def test_an_index_cannot_name_files_outside_the_cache(
    shard: Path, server: WebServer, tmp_path: Path, escape: str
) -> None:
    precious = tmp_path / "home/backup.tar"
    precious.parent.mkdir()
    precious.write_bytes(b"precious")
    arrays, says = read_index(shard)
    name = str(precious.with_suffix("")) if escape == "absolute" else "../../home/backup"
    forge_index(shard, arrays, {**says, "sha256": name})
    with pytest.raises(ShardError, match=r"a\.tar\.idx: not an index of format 1"):
        opened(f"{server.url}/a.tar", Cache(tmp_path / "cache", 10**9)).members(0, ("text",))
    assert [path.name for path in precious.parent.iterdir()] == ["backup.tar"]
    assert precious.read_bytes() == b"precious"
