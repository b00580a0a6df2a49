"""Writing samples into numbered tar shards that plain webdataset reads, each followed by its index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from u2a.common.files import replacing, sha256_file
from u2a.data.shards.dataset import ShardEntry
from u2a.data.shards.index import IndexInfo, index_path, write_index
from u2a.data.shards.samples import Sample, encode_key
from u2a.errors import ShardError


def pack_sample(key: str, sample: Sample, members: Mapping[str, bytes]) -> dict[str, Any]:
    """A sample as webdataset writes it.

    Args:
        key: the original key, any text.
        sample: its declaration.
        members: bytes by suffix, e.g. ``{"image.jpg": ...}``; none empty.
    """
    return {"__key__": encode_key(key), "json": sample.to_bytes(), **members}


class SplitWriter:
    """Writes one split as ``<split>-000000.tar`` and so on; the same samples give the same bytes.

    A context manager: a shard gets its final name when it is complete and on disk; one that was being
    written when the block failed is removed. ``entries`` lists the shards that are done; those of an earlier
    run may be given, and the next shard follows them. `first` is the number of the first of all.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        modalities: Sequence[str],
        shard_size: int,
        entries: Sequence[ShardEntry] = (),
        first: int = 0,
    ) -> None:
        self.entries = list(entries)
        self._folder = folder
        self._split = split
        self._modalities = tuple(modalities)
        self._shard_size, self._first = shard_size, first
        self._held = 0
        self._tar: Any = None
        self._open = ExitStack()

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
            return
        with suppress(Exception):  # the first error is the one to tell
            if self._tar is not None:
                self._tar.close()
        self._open.__exit__(kind, error, trace)

    def add(self, key: str, sample: Sample, members: Mapping[str, bytes]) -> None:
        """Append a sample (see `pack_sample`); keys must be unique within the split."""
        if self._tar is None:
            self._start()
        self._tar.write(pack_sample(key, sample, members))
        self._held += 1
        if self._held == self._shard_size:
            self._finish()

    def _path(self) -> Path:
        return self._folder / f"{self._split}-{self._first + len(self.entries):06d}.tar"

    def _start(self) -> None:
        from webdataset.writer import TarWriter  # imports torch

        stream = self._open.enter_context(replacing(self._path()))
        self._tar = TarWriter(stream, user="u2a", group="u2a", mtime=0, encoder=False)

    def _finish(self) -> None:
        if self._tar is None:
            return
        self._tar.close()
        self._open.close()
        path = self._path()
        info = write_index(path, self._modalities)
        self.entries.append(shard_entry(path, info))
        self._tar, self._held = None, 0


def shard_entry(shard: Path, info: IndexInfo) -> ShardEntry:
    """The entry of a shard whose index was just written.

    Raises:
        ShardError: the shard's name cannot be listed.
    """
    try:
        return ShardEntry(
            name=shard.name,
            samples=info.samples,
            bytes=info.bytes,
            sha256=info.sha256,
            index=sha256_file(index_path(shard)),
        )
    except ValidationError:
        raise ShardError(f"{shard}: a shard's name may have letters, digits and . _ - only") from None
