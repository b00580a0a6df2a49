"""The headers of a tar that anybody may have made, each checked, up to the proven end of the archive."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from u2a.errors import ShardError
from u2a.media.names import named

_BLOCK = 512
#: More than any name or attribute of a member needs.
MAX_HEADER_BYTES = 1 << 20


_PACKERS = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "ZIP",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
}


class _Headers:
    """A tar as tarfile may read it: headers only. It would take any size that a header claims as true."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        return self._stream.read(size)


def tar_headers(path: Path, stream: BinaryIO, size: int) -> Iterator[tarfile.TarInfo]:
    """Every file's header, then the check that the archive ends as a whole one does.

    Raises:
        ShardError: names the file, and the member where there is one.
    """
    end = 0
    try:
        with tarfile.open(fileobj=_Headers(stream), mode="r:") as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                tar.members.clear()  # tarfile would keep every header
                end = info.offset_data if not info.isreg() else info.offset_data + info.size
                if end > size or info.size < 0:
                    raise ShardError(f"{path}: {info.name}: the file ends inside this member; it is truncated")
                if not info.isdir():
                    yield info
    except (tarfile.TarError, ValueError, OverflowError) as error:  # damage shows in several ways
        raise ShardError(f"{path}: {_packed(stream) or f'not a whole, uncompressed tar ({error})'}") from error
    except RecursionError:  # tarfile reads the header that a long name belongs to within that of the name
        raise ShardError(f"{path}: not a tar to trust: a member has hundreds of headers") from None
    _check_end(path, stream, -(-end // _BLOCK) * _BLOCK, size)


def _packed(stream: BinaryIO) -> str | None:
    stream.seek(0)
    start = stream.read(64)
    for sign, name in _PACKERS.items():
        if start.startswith(sign):
            return f"is compressed ({name}), and so not readable in parts; unpack it to a plain tar"
    return named(start)


def _check_end(path: Path, stream: BinaryIO, end: int, size: int) -> None:
    # tarfile takes a damaged or cut header for the end, so the end itself must be proven.
    if size < end + 2 * _BLOCK or size % _BLOCK:
        raise ShardError(f"{path}: has no end-of-archive marker after byte {end}; it is truncated")
    stream.seek(end)
    while chunk := stream.read(1 << 20):
        if chunk.strip(b"\0"):
            raise ShardError(f"{path}: damaged header, or data after the end of the archive, at byte {end}")
