"""Files that cells name: as they stand, else by the end of their path, at last by a name that is unique."""

from __future__ import annotations

import os
import re
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

from u2a.common.values import nfc
from u2a.starting.folders import split_in

#: Files that are looked at to find one by its name.
MOST_FILES = 500_000
_NAMED = re.compile(r".*[^.\s]\.[A-Za-z][A-Za-z0-9]{1,4}", re.DOTALL)
_DIGITS = re.compile(r"0*([0-9]+)(\.0+)?")


def several(value: str) -> bool:
    """Whether a cell names more than one file: ``a.jpg,b.jpg``."""
    parts = re.split(r"\s*[,;|]\s*", value)
    return len(parts) > 1 and all(_NAMED.fullmatch(part) for part in parts)


def _forms(value: str) -> list[str]:
    """How the path of a cell may be meant; none for what is no path."""
    plain = value.strip().removeprefix("file://").replace("\\", "/")
    if not plain or len(plain) > 1000 or "\n" in plain or "\0" in plain or "://" in plain:
        return []
    return list(dict.fromkeys((plain, unquote(plain))))


def _of_split(paths: list[str], split: str | None) -> list[str]:
    inside = [path for path in paths if split in map(split_in, path.split("/")[:-1])]
    return inside if split and len(paths) > 1 and inside else paths


class Files:
    """The files below one folder; none outside it is ever given.

    Attributes:
        root: the folder.
        by_name: cells whose file was found by its name or the end of its path, somewhere else than they say.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.by_name = 0
        self._names: dict[str, list[str]] | None = None

    def find(self, value: str) -> str | None:
        """The path relative to the folder of the file that a cell names; None if there is none."""
        return self.stands(value) or self.elsewhere(value)

    def stands(self, value: str) -> str | None:
        """The file that lies just where a cell says, in whatever case."""
        forms = _forms(value)
        return next(filter(None, chain(map(self._inside, forms), map(self._in_any_case, forms))), None)

    def elsewhere(self, value: str) -> str | None:
        """A file in another place that a cell may mean (`Moved` tells whether it does)."""
        found = next(filter(None, map(self._elsewhere, _forms(value))), None)
        self.by_name += found is not None
        return found

    def _elsewhere(self, plain: str) -> str | None:
        """The file that the path's end names, the longest end first; else the only one of its name."""
        if several(plain):
            return None
        parts = plain.split("/")
        ends = ("/".join(parts[cut:]) for cut in range(1, len(parts)))
        found = next(filter(None, map(self._inside, ends)), None)
        called = self._called(plain) or self._numbered(plain)
        if len(called) > 1:  # train/1.png for train/images/1.png
            called = [path for path in called if set(parts[:-1]) <= set(path.split("/")[:-1])]
        return found or (called[0] if len(called) == 1 else None)

    def why(self, value: str) -> str:
        """Why `find` gave no file."""
        if several(value):
            return "names several files; a cell names one, so give each a column of its own"
        if len(called := self._called(value.strip().replace("\\", "/"))) > 1:
            return f"there are {len(called)} such files below {self.root}: {', '.join(sorted(called)[:3])}"
        if linked := next(filter(self._leads_out, _forms(value)), None):
            where = os.path.realpath(self.root / linked)
            return f"lies in {os.path.dirname(where)}, where a link leads out of {self.root}; copy it there"
        return f"no such file below {self.root}"

    def named(self, value: str, split: str | None = None) -> dict[str, list[str]]:
        """The files that are called like an id, by extension; of several those in a folder of the `split`."""
        found: dict[str, list[str]] = {}
        for path in self._called(value.strip()) or self._numbered(value):
            if extension := os.path.splitext(path)[1].lower().lstrip("."):
                found.setdefault(extension, []).append(path)
        return {extension: _of_split(paths, split) for extension, paths in found.items()}

    def _numbered(self, value: str) -> list[str]:
        """Files that are called by the same number: tables lose zeros in front, and gain a ``.0`` behind."""
        number = _DIGITS.fullmatch(value.strip())
        return self._index().get(f"/{number[1]}", []) if number else []

    def read(self, relative: str) -> bytes:
        """The bytes of a file that was found."""
        return (self.root / relative).read_bytes()

    def _inside(self, plain: str) -> str | None:
        path = os.path.realpath(self.root / plain)
        inside = os.path.commonpath((self.root, path)) == str(self.root)
        return os.path.relpath(path, self.root) if inside and os.path.isfile(path) else None

    def _leads_out(self, plain: str) -> bool:
        inside = not os.path.normpath(plain).startswith(("/", ".."))
        return inside and (self.root / plain).is_file() and self._inside(plain) is None

    def _in_any_case(self, plain: str) -> str | None:
        wanted = nfc(plain.removeprefix("./")).casefold()
        found = [path for path in self._called(plain) if nfc(path).casefold() == wanted]
        return found[0] if len(found) == 1 else None

    def _called(self, plain: str) -> list[str]:
        name = nfc(plain.rpartition("/")[2]).casefold()
        return self._index().get(name, []) if name else []

    def _index(self) -> dict[str, list[str]]:
        """Paths by name, by name without extension, and by number (behind a slash, which no name has)."""
        if self._names is None:
            self._names = names = dict[str, list[str]]()
            count = 0
            for at, folders, files in os.walk(self.root):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for file in files:
                    count += 1
                    path = os.path.relpath(os.path.join(at, file), self.root)
                    stem = nfc(os.path.splitext(file)[0]).casefold()
                    number = _DIGITS.fullmatch(stem) if stem.isdigit() else None
                    for name in {nfc(file).casefold(), stem, *([f"/{number[1]}"] if number else [])}:
                        names.setdefault(name, []).append(path)
                if count > MOST_FILES:
                    break
        return self._names
