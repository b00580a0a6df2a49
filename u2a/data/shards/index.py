"""The index beside each shard, ``<shard>.idx``: where every member is, in a memory-mapped safetensors file.

Arrays (S samples, M modalities in the order of the metadata): ``offset`` and ``size`` int64 [S, M], -1 where
absent; ``present`` bool [S, M]; ``keys`` uint8 and ``key_ends`` int64 [S]; ``labelled`` bool [S];
``label_ids`` int32 and ``label_ends`` int64 [S], indices into the shard's own ``classes``; ``digest`` uint64
[S, M] of each member's content; ``group`` uint64 [S] if any sample has a group. The metadata entry
``u2a`` is the JSON of `IndexInfo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from u2a.common.files import replacing, sha256_file
from u2a.data.shards.members import SampleReader, Scan, stable_hash
from u2a.data.shards.names import MemberNames
from u2a.data.shards.scan import scan_shard
from u2a.data.storage.digests import Sha256
from u2a.data.storage.local import missing_shard
from u2a.errors import ShardError


class Mapping(BaseModel):
    """What the person who indexed a shard made elsewhere declared about it (see `u2a.data.shards.foreign`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modalities: dict[str, tuple[str, ...]]
    may_lack: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    label: str | None = None
    numbers: Literal["names", "places", "multihot"] | None = None
    last_dot: bool | None = None


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
    names: MemberNames | None = None,
    path: Path | None = None,
) -> IndexInfo:
    """Scan a shard (see `scan_shard`) and write its index; the same shard gives the same bytes.

    Args:
        shard: an uncompressed tar.
        modalities: modalities that come first in the index, even if no sample has them.
        reader, mapping, names: how samples of a shard made elsewhere are read, and the declaration to store.
        path: where to write, if not beside the shard.

    Raises:
        ShardError: the shard cannot be trusted, or another tool's file stands in the way; nothing is written.
    """
    check_ours(path := path or index_path(shard))
    scan = scan_shard(shard, modalities, reader, names)
    first = [m for m in scan.spans if m in modalities]
    order = (*first, *sorted(scan.spans.keys() - set(first)))
    info = IndexInfo(
        samples=len(scan),
        bytes=scan.bytes,
        sha256=scan.sha256,
        modalities=order,
        extensions={m: tuple(sorted(scan.extensions[m])) for m in order},
        classes=tuple(scan.classes),
        mapping=mapping,
    )
    with replacing(path) as stream:
        stream.write(
            save(_arrays(shard, scan, order), metadata={"u2a": info.model_dump_json(exclude_none=True)})
        )
    return info


def check_ours(path: Path) -> None:
    """Refuse to write over a file that is no index of ours, such as Megatron-Energon's ``<shard>.tar.idx``.

    Raises:
        ShardError: names it, and where else an index may be.
    """
    if not path.exists():
        return
    with open(path, "rb") as stream:
        start = stream.read(4096)
    # Ours, damaged ones included, begins with safetensors' length and our entry of its metadata.
    if start and b'"__metadata__":{"u2a":' not in start:
        raise ShardError(
            f"{path}: is no index of u2a's, perhaps another tool's, and is not written over; "
            "--index-dir FOLDER keeps u2a's elsewhere, or move the file away"
        )


def _arrays(shard: Path, scan: Scan, modalities: Sequence[str]) -> dict[str, NDArray[Any]]:
    offset_SM, size_SM = (
        np.stack([np.frombuffer(scan.spans[m][column], np.int64) for m in modalities], axis=1)
        for column in (0, 1)
    )
    extra = {"group": np.frombuffer(scan.groups, np.uint64)} if any(scan.groups) else {}
    return {
        "offset": offset_SM,
        "size": size_SM,
        "present": offset_SM >= 0,
        "keys": np.frombuffer(scan.keys, np.uint8),
        "key_ends": np.frombuffer(scan.key_ends, np.int64),
        "labelled": np.frombuffer(scan.labelled, np.bool_),
        "label_ids": np.array(scan.label_ids, np.int32),
        "label_ends": np.frombuffer(scan.label_ends, np.int64),
        "digest": _digests(shard, offset_SM, size_SM),
        **extra,
    }


def _digests(shard: Path, offset_SM: NDArray[np.int64], size_SM: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 bits that tell the content of each member, 0 where there is none: equal files show without reading."""
    digest_SM = np.zeros(offset_SM.shape, np.uint64)
    with open(shard, "rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        for s, offsets in enumerate(offset_SM.tolist()):
            seen: dict[int, int] = {}  # modalities may share a member
            for m, offset in enumerate(offsets):
                if offset >= 0:
                    if offset not in seen:
                        member = data[offset : offset + int(size_SM[s, m])]
                        seen[offset] = stable_hash(member)
                    digest_SM[s, m] = seen[offset]
    return digest_SM


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
            raise missing_shard(path, error) from None
        again = f"restore it, or index it again with: u2a data index {self.shard}"
        if size != self.info.bytes:
            raise ShardError(f"{path}: has {size} bytes, but {self.info.bytes} when it was indexed; {again}")
        if verify and sha256_file(path) != self.info.sha256:
            raise ShardError(f"{path}: its content has changed since it was indexed; {again}")
