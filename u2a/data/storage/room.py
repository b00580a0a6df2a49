"""Room in the cache folder (see `u2a.data.storage.cache` for its files): what is taken, and which shards go."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from u2a.data.storage.locks import EXCLUSIVE, NOW, Lock


def reserve(folder: Path, sha256: str, size: int, limit: int) -> bool:
    """Set room aside for a shard, at the cost of those that were not used for longest; False without room."""
    with Lock(folder / "lock", EXCLUSIVE):
        _drop_dead(folder)
        # Rooms before shards: a fetch that ends meanwhile turns one into the other, and the other way
        # round it would be seen as neither, and the limit be overstepped.
        used = sum(_size(path) for kind in ("room", "tar") for path in folder.glob(f"*.{kind}"))
        if not _evict(folder, used + size - limit):
            return False
        with open(folder / f"{sha256}.room", "wb") as room:
            room.truncate(size)  # takes no space; its size is what counts
    return True


def _drop_dead(folder: Path) -> None:
    """Remove what processes that died while fetching left."""
    for room in folder.glob("*.room"):
        with suppress(OSError), Lock(room.with_suffix(".get"), EXCLUSIVE | NOW):
            room.with_suffix(".part").unlink(missing_ok=True)
            room.unlink(missing_ok=True)


def _evict(folder: Path, needed: int) -> bool:
    """Remove shards that nobody uses until so many bytes are free; none if that cannot be reached."""
    if needed <= 0:
        return True
    shards = sorted(folder.glob("*.tar"), key=_last_use)
    if not _can_free(shards, needed):
        return False
    for path in shards:
        if needed <= 0:
            break
        with suppress(BlockingIOError), _unused(path):
            needed -= _size(path)
            path.unlink(missing_ok=True)
    return needed <= 0  # somebody may have begun to use one meanwhile


def _can_free(shards: list[Path], needed: int) -> bool:
    # One lock at a time: a cache may hold more shards than a process may open files.
    for path in shards:
        with suppress(BlockingIOError), _unused(path):
            needed -= _size(path)
        if needed <= 0:
            return True
    return False


def _unused(shard: Path) -> Lock:
    return Lock(shard.with_suffix(".use"), EXCLUSIVE | NOW)


def _last_use(shard: Path) -> int:
    try:
        return shard.with_suffix(".use").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # finished or found damaged just now
        return 0
