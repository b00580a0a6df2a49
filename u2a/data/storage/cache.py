"""A bounded local cache of remote shards, shared by all processes of a machine.

Shards are stored whole under their SHA-256, so equal content is stored once and names cannot clash. A shard
that finds no room, because everything in the cache is in use, is read in ranges instead: what a training
reads never depends on the cache. Files of the cache folder::

    shards/<sha256>.tar       a whole shard; its modification time is VERIFIED unless somebody touched it
    shards/<sha256>.use       locked (shared) while in use; its own time is that of the last use
    shards/<sha256>.get       locked while being fetched; .part is the bytes so far, .room their final number
    index/<name>.idx          indexes, which are small and not counted
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from u2a.common import remote
from u2a.common.environment import cache_folder
from u2a.common.files import replacing, sha256_file
from u2a.data.storage.local import ShardFile
from u2a.data.storage.locks import EXCLUSIVE, SHARED, Lock
from u2a.data.storage.room import reserve
from u2a.errors import ShardError, U2AError

#: The modification time of files whose content was checked.
VERIFIED = 1_000_000_000
#: A handle that this many reads of its process did not use is closed when another shard is needed.
IDLE_READS = 256
#: Handles that a process keeps; each is two open files.
MOST_HANDLES = 32
#: After a shard found no room, so many reads pass until the next try.
PATIENCE = 64
DEFAULT_GB = 50.0
#: What the system says of files that one may only read.
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class RemoteShard:
    """A shard elsewhere, and what its index says of it."""

    address: str
    bytes: int
    sha256: str


class Handle:
    """A cached shard in use: it is not evicted before `close`."""

    def __init__(self, file: ShardFile, lock: Lock | None) -> None:
        self.file, self._lock, self.used = file, lock, 0

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()


class Cache:
    """The cache as one process sees it; picklable.

    Args:
        folder: made when something is stored.
        limit: bytes that whole shards may take.
    """

    def __init__(self, folder: Path | None = None, limit: int = int(DEFAULT_GB * 1e9)) -> None:
        self.folder, self.limit = folder or cache_folder(), limit
        self._shards, self._indexes = self.folder / "shards", self.folder / "index"
        self._forget()

    def _forget(self) -> None:
        self._handles: dict[str, Handle] = {}
        self._no_room: dict[str, int] = {}
        self._reads = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "limit": self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def index(self, address: str, sha256: str | None) -> Path:
        """The local copy of a remote index; fetched unless one with this sha256 is here.

        The shard's own sha256 would not do: the index of a shard made elsewhere depends on how it was made.

        Raises:
            ShardError: it cannot be read.
        """
        name = hashlib.sha256(remote.show(address).encode()).hexdigest()[:16]
        path = self._indexes / f"{name}-{Path(remote.show(address)).name}"
        with suppress(OSError):
            if sha256 and sha256_file(path) == sha256:
                return path
        data = remote.fetch(address)
        with _told_of(path):
            self._indexes.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != data:
                with replacing(path) as stream:
                    stream.write(data)
        return path

    def read(self, shard: RemoteShard, offset: int, size: int) -> bytes:
        """Exactly `size` bytes of a shard, from the cache if it has room for it.

        Raises:
            ShardError: it cannot be read, or is not what its index says.
        """
        self._reads += 1
        handle = self._handles.get(shard.sha256)
        if handle is None and self._no_room.get(shard.sha256, 0) <= self._reads:
            handle = self.hold(shard)
            if handle is None:
                self._no_room[shard.sha256] = self._reads + PATIENCE
        if handle is None:
            return remote.fetch_range(shard.address, offset, size)
        self._handles.pop(shard.sha256, None)
        self._handles[shard.sha256] = handle  # the last: in order of use
        handle.used = self._reads
        return handle.file.read(offset, size)

    def hold(self, shard: RemoteShard) -> Handle | None:
        """A shard in the cache, fetched if need be, that stays until the handle is closed; None without room.

        Raises:
            ShardError: it cannot be read, or is not what its index says.
        """
        self._close_idle()
        with _told_of(self._shards):
            self._shards.mkdir(parents=True, exist_ok=True)
            lock = self._use(shard)
            try:
                file = self._whole(shard) or self._fetch(shard)
            except BaseException as error:
                if lock is not None:
                    lock.close()
                if not (isinstance(error, OSError) and error.errno in NOT_OURS):
                    raise
                return None  # a cache of somebody else's that lacks this shard
        handle = Handle(file, lock) if file is not None else None
        if handle is None and lock is not None:
            lock.close()
        return handle

    def _use(self, shard: RemoteShard) -> Lock | None:
        """What keeps a shard from being evicted; None in a cache that nobody may change."""
        path = self._path(shard, "use")
        try:
            lock = Lock(path, SHARED)
            os.utime(path)
            return lock
        except OSError as error:
            if error.errno not in NOT_OURS:
                raise
        with suppress(OSError):
            return Lock(path, SHARED, make=False)
        return None

    def _path(self, shard: RemoteShard, kind: str) -> Path:
        return self._shards / f"{shard.sha256}.{kind}"

    def _whole(self, shard: RemoteShard) -> ShardFile | None:
        """The stored shard if it is what it should be; a file that was touched is checked again."""
        path = self._path(shard, "tar")
        try:
            right = path.stat().st_size == shard.bytes
            if right and not _is_verified(path):
                right = sha256_file(path) == shard.sha256
                with suppress(PermissionError):  # another user's file is checked each time
                    os.utime(path, (VERIFIED, VERIFIED))
            if right:
                return ShardFile(path, shard.bytes)
            path.unlink()
        except (FileNotFoundError, ShardError):  # evicted or removed meanwhile
            pass
        return None

    def _fetch(self, shard: RemoteShard) -> ShardFile | None:
        """Fetch a shard, unless another process just did; None without room."""
        with Lock(self._path(shard, "get"), EXCLUSIVE):
            if file := self._whole(shard):
                return file
            if not reserve(self._shards, shard.sha256, shard.bytes, self.limit):
                return None
            part, room = self._path(shard, "part"), self._path(shard, "room")
            try:
                part.unlink(missing_ok=True)  # another user's, who was killed, could not be marked as verified
                self._download(shard, part)
                os.replace(part, self._path(shard, "tar"))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    return None
                raise
            finally:
                part.unlink(missing_ok=True)
                room.unlink(missing_ok=True)
            return self._whole(shard)

    def _download(self, shard: RemoteShard, part: Path) -> None:
        for _ in range(2):  # the second time rules out damage on the way
            remote.download(shard.address, part, shard.bytes)
            if part.stat().st_size == shard.bytes and sha256_file(part) == shard.sha256:
                os.utime(part, (VERIFIED, VERIFIED))
                return
        raise ShardError(
            f"{remote.show(shard.address)}: its content is not what its index says; "
            "store shard and index together again"
        )

    def _close_idle(self) -> None:
        for sha256, handle in list(self._handles.items()):  # least recently used first
            if len(self._handles) < MOST_HANDLES and self._reads - handle.used <= IDLE_READS:
                break
            self._handles.pop(sha256).close()


def _is_verified(path: Path) -> bool:
    return path.stat().st_mtime_ns == VERIFIED * 10**9


@contextmanager
def _told_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise U2AError(f"{where}: the cache cannot be written: {error.strerror}; set data.cache_dir") from None
