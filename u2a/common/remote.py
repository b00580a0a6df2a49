"""Files on web servers and in object stores through fsspec, with patience.

A server that is away for less than RETRY_SECONDS costs time only. Credentials come from where the store's own
library looks for them (environment, configuration files), never from recipes; what follows a ``?`` in
an address may be a signature and is not shown.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from u2a.common.environment import number
from u2a.errors import ShardError, one_line

T = TypeVar("T")
#: How long a server may be away; U2A_RETRY_SECONDS says otherwise, since it is a property of the place.
RETRY_SECONDS = 60.0
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0
CONNECT_SECONDS, READ_SECONDS = 10, 60
ABSENT = "no such file"
_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}


def show(address: str) -> str:
    """An address for messages, without what may be a signature."""
    return _cut(address)[0]


def beside(address: str, suffix: str) -> str:
    """The address of a file beside another: ``x.tar?sig`` and ``.idx`` give ``x.tar.idx?sig``."""
    path, query = _cut(address)
    return path + suffix + query


def _cut(address: str) -> tuple[str, str]:
    """An address before and from its query on; in an object store ``?`` is a character of the key."""
    path, mark, query = address.partition("?")
    return (path, mark + query) if address.lower().startswith(("http:", "https:")) else (address, "")


def fetch(address: str) -> bytes:
    """A whole small file.

    Raises:
        ShardError: it does not exist, or the server stayed away.
    """
    return _patiently(address, lambda fs, path: bytes(fs.cat_file(path)))


def fetch_if_there(address: str) -> bytes | None:
    """A whole small file; None where there is none.

    Raises:
        ShardError: the server stayed away, or refuses.
    """

    def read(fs: Any, path: str) -> bytes | None:
        try:
            return bytes(fs.cat_file(path))
        except FileNotFoundError as error:
            if _lasting(error, address) == ABSENT:
                return None
            raise

    return _patiently(address, read)


def write(address: str, data: bytes) -> None:
    """Put a small file there, in the place of what was there.

    Raises:
        ShardError: the server stayed away, or refuses.
    """
    _patiently(address, lambda fs, path: fs.pipe_file(path, data), "written")


def upload(source: Path, address: str) -> None:
    """Put a file there, in the place of what was there.

    Raises:
        ShardError: as for `write`.
    """
    _patiently(address, lambda fs, path: fs.put_file(str(source), path), "written")


def names(address: str) -> list[str]:
    """What lies directly below an address, files and folders.

    Raises:
        ShardError: as for `fetch`.
    """

    def read(fs: Any, path: str) -> list[str]:
        fs.invalidate_cache()
        return [str(found).rstrip("/").rpartition("/")[2] for found in fs.ls(path, detail=False)]

    return _patiently(address, read)


def remove(address: str) -> None:
    """Remove a folder and all that is in it.

    Raises:
        ShardError: as for `write`.
    """
    _patiently(address, lambda fs, path: fs.rm(path, recursive=True), "removed")


def fetch_range(address: str, offset: int, size: int) -> bytes:
    """Exactly `size` bytes of a file.

    Raises:
        ShardError: as for `fetch`; or the server does not serve ranges.
    """
    data = _patiently(address, lambda fs, path: bytes(fs.cat_file(path, start=offset, end=offset + size)))
    if len(data) != size:
        raise ShardError(
            f"{show(address)}: the server sent {len(data)} bytes instead of {size} from {offset}: the file was "
            "cut, or the server cannot serve parts of files; a larger data.cache_gb needs no parts"
        )
    return data


def file_size(address: str) -> int | None:
    """The size of a file in bytes; None if the server does not tell.

    Raises:
        ShardError: as for `fetch`.
    """
    size = _patiently(address, lambda fs, path: fs.info(path).get("size"))
    return None if size is None else int(size)


def download(address: str, target: Path, most: int | None = None) -> None:
    """Write a whole file to `target`.

    Args:
        most: bytes that it may have; a server that sends more is not listened to.

    Raises:
        ShardError: as for `fetch`; or the file is larger than it may be.
        OSError: the disk is full.
    """
    from fsspec.callbacks import Callback

    def check(size: int | None, done: int) -> None:
        if most is not None and done > most:
            raise ShardError(
                f"{show(address)}: the server sends more than the {most} bytes of its index; "
                "store shard and index together again"
            )

    # hf checks sizes itself, and gives up its fast way for a callback.
    own = {} if address.lower().startswith("hf://") else {"callback": Callback(hooks={"size": check})}
    _patiently(address, lambda fs, path: fs.get_file(path, str(target), **own))


def _patiently(address: str, act: Callable[[Any, str], T], done: str = "read") -> T:
    """Call until it works, the fault is no passing one, or RETRY_SECONDS are over."""
    start, wait, tries = time.monotonic(), FIRST_WAIT, 0
    patience = number("U2A_RETRY_SECONDS", RETRY_SECONDS)
    while True:
        tries += 1
        try:
            return act(*_open(address))
        except ShardError:
            raise
        except Exception as error:  # every store's library has its own
            if (reason := _lasting(error, address)) is not None:
                raise ShardError(f"{show(address)}: {reason}") from None
            if time.monotonic() - start + wait > patience:
                raise ShardError(
                    f"{show(address)}: cannot be {done}: {_told(error)} (tried {tries} times in "
                    f"{time.monotonic() - start:.0f} s)"
                ) from None
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def _open(address: str) -> tuple[Any, str]:
    """The file system (never kept: it must not cross a fork) and the path in it."""
    from fsspec.core import url_to_fs

    return url_to_fs(address, **_options(address))


def _options(address: str) -> dict[str, Any]:
    scheme = address.split("://")[0].lower()
    if scheme in ("http", "https"):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        # A signature may be of the very characters; aiohttp would write %2F and %40 in another way.
        ready = "%" in address and address.isascii() and address.isprintable() and " " not in address
        return {"client_kwargs": {"timeout": limits}, "encoded": ready}
    if scheme == "file":
        return {"auto_mkdir": True}
    if scheme == "s3":
        times = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
        return {"config_kwargs": {**times, "retries": {"max_attempts": 1}}}
    return {}


def _lasting(error: Exception, address: str) -> str | None:
    """Why another try is no use; None if the fault may pass."""
    scheme = address.split("://")[0].lower()
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError):
        cause = error.__cause__
        if isinstance(cause, Exception) and type(cause).__module__.startswith(("aiohttp", "asyncio")):
            return _lasting(cause, address)  # fsspec calls any failed question for the size so
        return ABSENT
    if isinstance(error, OSError) and error.errno in _DISK:
        raise error
    if isinstance(error, ImportError):
        extra = _EXTRAS.get(scheme)
        return f"needs another package: pip install 'u2a[{extra}]'" if extra else _told(error)
    if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return f"access is denied: {_told(error)}; credentials come from the store's own configuration"
    if status == 404:
        return ABSENT
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429):
        return f"the server refuses: {_told(error)}"
    return _told(error) if isinstance(error, ValueError | TypeError | NotImplementedError) else None


_DISK = (28, 122)  # ENOSPC, EDQUOT


def _told(error: Exception) -> str:
    text = re.sub(r"\?[^\s'\"]*", "?...", one_line(error))
    return f"{type(error).__name__}: {text}"[:300]
