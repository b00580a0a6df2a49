"""Writing files so that a reader never sees half of one, and a crash never leaves less than was there."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_text(path: Path, text: str) -> None:
    """Replace a file's content at once: written aside, flushed to the disk, renamed."""
    with replacing(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON, with null for NaN."""
    write_text(path, json.dumps(without_nan(value), indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """`write_text` of a table, the first row's keys as its header; lists are JSON text. No rows, no file."""
    if not rows:
        return
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: json.dumps(v, ensure_ascii=False) if isinstance(v, list) else v for k, v in row.items()}
        )
    write_text(path, stream.getvalue())


def without_nan(value: Any) -> Any:
    """The same plain values with None for NaN and infinity, which JSON does not know."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sync_file(path: Path) -> None:
    """Flush a file that another library wrote to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def follow_umask(path: Path) -> None:
    """Give a file that a library made for its owner alone the mode of one that a person makes."""
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}.mode")
    with open(probe, "xb") as stream:  # to ask for the umask is to change it, for all threads
        mode = os.fstat(stream.fileno()).st_mode
    probe.unlink()
    path.chmod(stat.S_IMODE(mode))


def sync_folder(path: Path) -> None:
    """Flush a folder's entries (new names) to the disk."""
    sync_file(path)  # a folder is flushed as a file is


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file under a temporary name; flushed to disk and renamed to `path` if the block succeeds.

    Who may read and write it is up to the umask, as for any file that a person makes.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def put_folder(folder: Path, target: Path) -> Path:
    """A finished folder at once in the place of `target`, which may be there; if it fails, all is as it was.

    Returns:
        Where what was there lies now, or would.
    """
    before = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
    if target.exists():
        os.rename(target, before)
    try:
        os.rename(folder, target)
    except BaseException:
        if before.exists():
            os.rename(before, target)
        raise
    sync_folder(target.parent)
    return before
