"""The index beside each shard, ``<shard>.idx``: where every member is, in a memory-mapped safetensors file.

Arrays (S samples, M modalities in the order of the metadata): ``offset`` and ``size`` int64 [S, M], -1 where
absent; ``present`` bool [S, M]; ``keys`` uint8 and ``key_ends`` int64 [S]; ``labelled`` bool [S];
``label_ids`` int32 and ``label_ends`` int64 [S], indices into the shard's own ``classes``. The metadata entry
``u2a`` is the JSON of `IndexInfo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from u2a.common.files import Sha256, replacing, sha256_file
from u2a.data.shards.scan import SampleReader, Scan, scan_shard
from u2a.errors import ShardError


class Mapping(BaseModel):
    """What the person who indexed a shard made elsewhere declared about it (see `u2a.data.shards.foreign`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modalities: dict[str, tuple[str, ...]]
    may_lack: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    label: str | None = None


class IndexInfo(BaseModel):
    """What an index says about its shard as a whole; `mapping` only if the shard was made elsewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    samples: int = Field(gt=0)
    bytes: int = Field(gt=0)
    sha256: Sha256
    modalities: tuple[str, ...]
    extensions: dict[str, tuple[str, ...]]
    classes: tuple[str, ...]
    mapping: Mapping | None = None


def index_path(shard: Path) -> Path:
    """Where the index of a shard is: beside it."""
    return shard.with_name(shard.name + ".idx")


def write_index(
    shard: Path,
    modalities: Sequence[str] = (),
    *,
    reader: SampleReader | None = None,
    mapping: Mapping | None = None,
) -> IndexInfo:
    """Scan a shard (see `scan_shard`) and write its index; the same shard gives the same bytes.

    Args:
        shard: an uncompressed tar.
        modalities: modalities that come first in the index, even if no sample has them.
        reader, mapping: how the samples of a shard made elsewhere are read, and the declaration to store.

    Raises:
        ShardError: the shard cannot be trusted; nothing is written.
    """
    scan = scan_shard(shard, modalities, reader)
    first = [m for m in scan.spans if m in modalities]
    names = (*first, *sorted(scan.spans.keys() - set(first)))
    info = IndexInfo(
        samples=len(scan),
        bytes=scan.bytes,
        sha256=scan.sha256,
        modalities=names,
        extensions={m: tuple(sorted(scan.extensions[m])) for m in names},
        classes=tuple(scan.classes),
        mapping=mapping,
    )
    with replacing(index_path(shard)) as stream:
        stream.write(save(_arrays(scan, names), metadata={"u2a": info.model_dump_json(exclude_none=True)}))
    return info


def _arrays(scan: Scan, modalities: Sequence[str]) -> dict[str, NDArray[Any]]:
    offset_SM, size_SM = (
        np.stack([np.frombuffer(scan.spans[m][column], np.int64) for m in modalities], axis=1)
        for column in (0, 1)
    )
    return {
        "offset": offset_SM,
        "size": size_SM,
        "present": offset_SM >= 0,
        "keys": np.frombuffer(scan.keys, np.uint8),
        "key_ends": np.frombuffer(scan.key_ends, np.int64),
        "labelled": np.frombuffer(scan.labelled, np.bool_),
        "label_ids": np.array(scan.label_ids, np.int32),
        "label_ends": np.frombuffer(scan.label_ends, np.int64),
    }


class ShardIndex:
    """An index opened for reading; arrays stay on disk until a slice is asked for.

    Args:
        shard: the shard, a path or an address.
        path: where its index is, if not beside it.

    Raises:
        ShardError: the index is missing, damaged, or of another format. What its arrays hold is checked by
            `u2a.data.shards.index_checks.check_index`, once for a split.
    """

    def __init__(self, shard: Path | str, path: Path | None = None) -> None:
        self.shard = shard
        self.path = path = path or index_path(Path(shard))
        if not path.is_file():
            raise ShardError(
                f"{shard}: has no index {path.name} beside it; make it with: u2a data index {shard}"
            )
        try:
            self._arrays = safe_open(path, framework="numpy")
            self.info = IndexInfo.model_validate_json((self._arrays.metadata() or {})["u2a"])
        except (SafetensorError, OSError, KeyError, ValidationError) as error:
            raise ShardError(
                f"{path}: not an index of format 1, or damaged ({type(error).__name__}); "
                f"make it again with: u2a data index {shard}"
            ) from None

    @cached_property
    def sha256(self) -> str:
        """Of the index itself, not of its shard."""
        return sha256_file(self.path)

    def header(self) -> dict[str, tuple[str, list[int]]]:
        """Type and shape of each array, without reading it."""
        slices = {name: self._arrays.get_slice(name) for name in self._arrays.keys()}  # noqa: SIM118
        return {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}

    def array(self, name: str) -> NDArray[Any]:
        """A whole array."""
        return self._arrays.get_tensor(name)

    def slice(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` of an array."""
        if start == stop:  # safetensors refuses empty slices
            return np.empty(0, np.int64)
        return self._arrays.get_slice(name)[start:stop]

    def all_keys(self) -> list[str]:
        """The original keys of all samples, in order."""
        data, ends = self.array("keys").tobytes(), self.array("key_ends").tolist()
        return [data[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]

    def key(self, row: int) -> str:
        """The original key of a sample."""
        return bytes(self._ragged("keys", "key_ends", row)).decode()

    def label_ids(self, row: int) -> NDArray[np.int32]:
        """A sample's labels as indices into ``info.classes``."""
        return self._ragged("label_ids", "label_ends", row)

    def _ragged(self, values: str, ends: str, row: int) -> NDArray[Any]:
        bounds = self.slice(ends, max(row - 1, 0), row + 1)
        return self.slice(values, int(bounds[0]) if row else 0, int(bounds[-1]))

    def check_shard(self, path: Path, *, verify: bool = False) -> None:
        """Check that a shard is the one that was indexed: by size, and by content if `verify`.

        Raises:
            ShardError: it is missing or has changed.
        """
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ShardError(f"{path}: missing shard ({error.strerror})") from None
        again = f"restore it, or index it again with: u2a data index {self.shard}"
        if size != self.info.bytes:
            raise ShardError(f"{path}: has {size} bytes, but {self.info.bytes} when it was indexed; {again}")
        if verify and sha256_file(path) != self.info.sha256:
            raise ShardError(f"{path}: its content has changed since it was indexed; {again}")
