"""A shard file on this machine, read at offsets."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from u2a.errors import ShardError


def missing_shard(path: Path, error: OSError) -> ShardError:
    """What to say of a shard that cannot be opened."""
    return ShardError(
        f"{path}: missing shard ({error.strerror}): copy it back, or pack anew: "
        "u2a data pack RECIPE --manifest FILE --overwrite"
    )


class ShardFile:
    """An open shard; reads do not move a position, so threads and forked processes may share it.

    The descriptor closes when the last reference goes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise missing_shard(path, error) from None
        weakref.finalize(self, os.close, self._descriptor)
        if os.fstat(self._descriptor).st_size != size:
            raise ShardError(f"{path}: has changed since it was indexed")

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes.

        Raises:
            ShardError: the file ends before, or its disk fails.
        """
        try:
            data = more = os.pread(self._descriptor, size, offset)
            while more and len(data) < size:  # the kernel stops one read at 2 GiB
                more = os.pread(self._descriptor, size - len(data), offset + len(data))
                data += more
        except OSError as error:
            raise ShardError(f"{self.path}: cannot be read: {error.strerror}") from None
        if len(data) != size:
            raise ShardError(f"{self.path}: ended {size - len(data)} bytes early; it was cut while in use")
        return data
