"""A disk that forgets what was not flushed: what a folder holds after the power fails, at the worst."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

Inode = tuple[int, int]


class Disk:
    """Watches ``os.fsync``; `fail` then takes away what never reached the disk.

    A file is on the disk as it was when it was last flushed, a name when its folder was. Of what came later, a
    file's bytes are cut off and a name is gone: any filesystem keeps more, none has to.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: dict[Inode, tuple[int, int]] = {}
        self.folders: dict[Inode, dict[str, Inode]] = {}
        flush = os.fsync

        def fsync(handle: int) -> None:
            flush(handle)
            status = os.fstat(handle)
            if os.path.isdir(f"/proc/self/fd/{handle}"):
                self.folders[_inode(status)] = _names(Path(os.readlink(f"/proc/self/fd/{handle}")))
            else:
                self.files[_inode(status)] = (status.st_size, status.st_mtime_ns)

        monkeypatch.setattr(os, "fsync", fsync)

    def fail(self, folder: Path) -> None:
        """Make `folder` (whose own name is taken to be safe) what the disk holds of it."""
        flushed = self.folders.get(_inode(folder.stat()), {})
        for name, inode in _names(folder).items():
            path = folder / name
            if flushed.get(name) != inode:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_dir():
                self.fail(path)
            elif self.files.get(inode) != (path.stat().st_size, path.stat().st_mtime_ns):
                path.write_bytes(b"")


def _inode(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino


def _names(folder: Path) -> dict[str, Inode]:
    return {path.name: _inode(path.stat()) for path in folder.iterdir()}
