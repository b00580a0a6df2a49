"""Files that cells name: as they stand, else by the file's name alone where that is unique below the folder."""

from __future__ import annotations

import os
from pathlib import Path

from u2a.common.values import nfc

#: Files that are looked at to find one by its name.
MOST_FILES = 500_000


class Files:
    """The files below one folder; none outside it is ever given.

    Attributes:
        root: the folder.
        by_name: cells whose file was found by its name, somewhere else than they say.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.by_name = 0
        self._names: dict[str, list[str]] | None = None

    def find(self, value: str) -> str | None:
        """The path relative to the folder of the file that a cell names; None if there is none."""
        plain = value.strip().removeprefix("file://").replace("\\", "/")
        if not plain or len(plain) > 1000 or "\n" in plain or "\0" in plain or "://" in plain:
            return None
        if (found := self._inside(plain)) is not None:
            return found
        called = self._called(plain)
        self.by_name += len(called) == 1
        return called[0] if len(called) == 1 else None

    def named(self, value: str) -> dict[str, str]:
        """The files that are called like an id, by extension; none of an extension that several have."""
        found: dict[str, list[str]] = {}
        for path in self._called(value.strip()):
            found.setdefault(os.path.splitext(path)[1].lower().lstrip("."), []).append(path)
        return {extension: paths[0] for extension, paths in found.items() if extension and len(paths) == 1}

    def read(self, relative: str) -> bytes:
        """The bytes of a file that was found."""
        return (self.root / relative).read_bytes()

    def _inside(self, plain: str) -> str | None:
        path = os.path.realpath(self.root / plain)
        inside = os.path.commonpath((self.root, path)) == str(self.root)
        return os.path.relpath(path, self.root) if inside and os.path.isfile(path) else None

    def _called(self, plain: str) -> list[str]:
        name = nfc(plain.rpartition("/")[2]).casefold()
        return self._index().get(name, []) if name else []

    def _index(self) -> dict[str, list[str]]:
        """Paths by name and by name without extension."""
        if self._names is None:
            self._names = names = dict[str, list[str]]()
            count = 0
            for at, folders, files in os.walk(self.root):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for file in files:
                    count += 1
                    path = os.path.relpath(os.path.join(at, file), self.root)
                    for name in {nfc(file).casefold(), nfc(os.path.splitext(file)[0]).casefold()}:
                        names.setdefault(name, []).append(path)
                if count > MOST_FILES:
                    break
        return self._names
