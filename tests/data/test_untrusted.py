"""Indexes and shards as damage or an attacker makes them: refused in one line, and nothing else is touched."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save
from servers import WebServer

from u2a.data.reading.split import Split, open_split
from u2a.data.shards.index import index_path, write_index
from u2a.data.shards.splits import add_split
from u2a.data.storage.cache import Cache
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


DAMAGE: dict[str, Any] = {
    "no array": lambda a, s: a.pop("present"),
    "short": lambda a, s: a.update(offset=a["offset"][:2]),
    "flat": lambda a, s: a.update(present=a["present"].ravel()),
    "another type": lambda a, s: a.update(size=a["size"].astype(np.float64)),
    "more samples": lambda a, s: s.update(samples=4),
    "no samples": lambda a, s: s.update(samples=0),
    "more modalities": lambda a, s: s.update(modalities=["text", "image"]),
    "no extensions": lambda a, s: s.update(extensions={}),
    "huge size": lambda a, s: a.update(size=a["size"] * 0 + 2**45),
    "no size": lambda a, s: a.update(size=a["size"] * 0),
    "negative size": lambda a, s: a.update(size=a["size"] * 0 - 5),
    "huge offset": lambda a, s: a.update(offset=a["offset"] * 0 + 2**62),
    "present, not there": lambda a, s: a.update(offset=a["offset"] * 0 - 1),
    "there, not present": lambda a, s: a.update(present=~a["present"]),
    "keys too short": lambda a, s: a.update(key_ends=a["key_ends"] + 100),
    "keys backwards": lambda a, s: a.update(key_ends=a["key_ends"][::-1].copy()),
    "keys not text": lambda a, s: a.update(keys=a["keys"] | 0x80),
    "half a letter": lambda a, s: a.update(keys=np.frombuffer("kék1k".encode(), np.uint8)),
    "labels backwards": lambda a, s: a.update(label_ends=a["label_ends"][::-1].copy()),
    "label too high": lambda a, s: a.update(label_ids=a["label_ids"] + 7),
    "label below zero": lambda a, s: a.update(label_ids=a["label_ids"] - 1),
    "a class of nobody": lambda a, s: s.update(classes=["x", "zzz"]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_index_that_no_shard_could_have_is_refused(shard: Path, damage: str) -> None:
    arrays, says = read_index(shard)
    DAMAGE[damage](arrays, says)
    forge_index(shard, arrays, says)
    said = refused(shard)
    assert said.startswith(f"{index_path(shard)}: ")
    assert f"u2a data index {shard}" in said


def test_an_index_that_is_not_the_one_of_dataset_json_is_refused(shard: Path) -> None:
    add_split([shard], "train")
    arrays, says = read_index(shard)
    forge_index(shard, {**arrays, "offset": arrays["offset"] + 512}, says)  # other bytes of the same shard
    with pytest.raises(ShardError, match=r"a\.tar: dataset\.json and the shard's index disagree"):
        open_split(str(shard.parent), "train", modalities=("text",), classes=("x", "y"), multi_label=False)


def test_a_disk_that_fails_is_told(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = opened(shard)

    def fail(*args: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(ShardError, match=r"a\.tar: cannot be read: Input/output error"):
        split.members(0, ("text",))


def tar_header(name: str, kind: bytes, size: int) -> bytes:
    """A tar header that may claim any size."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


CRAFTED = {
    "a long name of a terabyte": tar_header("././@LongLink", b"L", 2**40),
    "attributes of a petabyte": tar_header("pax", b"x", 2**50),
    "a long name of 2 MiB": tar_header("././@LongLink", b"L", 1 << 21) + b"a" * (1 << 21),
    "a name of a name of a name": (tar_header("././@LongLink", b"L", 4) + b"abc".ljust(512, b"\0")) * 3000,
    "attributes of attributes": (tar_header("pax", b"x", 12) + b"12 path=abc\n".ljust(512, b"\0")) * 3000,
    "a size below zero": tar_header("pax", b"x", 14) + b"14 size=-1536\n".ljust(512, b"\0"),
}


@pytest.mark.parametrize("how", CRAFTED)
def test_crafted_headers_are_refused_by_name(shard: Path, how: str) -> None:
    shard.write_bytes(CRAFTED[how] + shard.read_bytes())
    with pytest.raises(ShardError, match=rf"^{shard}: ") as caught:
        write_index(shard)
    assert "\n" not in str(caught.value)


def test_long_names_stay_readable(tmp_path: Path) -> None:
    key = "k" * 3000
    path = make_tar(tmp_path / "long.tar", [(key, "x", {"text.txt": b"hello"})])
    assert write_index(path).samples == 1
    assert opened(path).key(0) == key


def test_a_shard_has_a_limited_number_of_modalities(tmp_path: Path) -> None:
    samples = [(f"k{i}", "x", {f"m{i}.txt": b"hello"}) for i in range(65)]
    assert len(write_index(make_tar(tmp_path / "most.tar", samples[:64])).modalities) == 64
    with pytest.raises(ShardError, match=r"many\.tar: sample 'k64': over 64 modalities in one shard"):
        write_index(make_tar(tmp_path / "many.tar", samples))
