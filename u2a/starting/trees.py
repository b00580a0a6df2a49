"""Folders as one tree: an archive's extra folder is passed over, those of modalities lie over each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from mimetypes import guess_type
from pathlib import Path

from u2a.data.shards.names import BESIDE, BESIDE_FOLDERS
from u2a.errors import U2AError

#: Files of a folder that show which kinds it holds.
_SHOWN = 50
#: Folders that say what their files are, not of which class.
_GENERAL = frozenset(
    ("images", "image", "imgs", "img", "pictures", "photos", "data", "files", "audio", "sounds", "wav", "texts")
)


@dataclass(frozen=True)
class Tree:
    """One folder, or several that hold the modalities of the same samples.

    Attributes:
        places: the folders.
        key: what keys of the files in it begin with.
        name: of the folder.
    """

    places: tuple[Path, ...]
    key: str = ""
    name: str = ""

    def folders(self) -> list[Tree]:
        """The folders in it, by name."""
        found: dict[str, list[Path]] = {}
        for place in self.places:
            for entry in place.iterdir():
                if entry.is_dir() and not beside(entry.name):
                    found.setdefault(entry.name, []).append(entry)
        return [Tree(tuple(found[n]), f"{self.key}{n}/", n) for n in sorted(found)]

    def loose(self) -> list[Path]:
        """The files that lie in it beside its folders."""
        entries = (entry for place in self.places for entry in place.iterdir())
        return sorted(entry for entry in entries if entry.is_file() and not beside(entry.name))

    def files(self) -> Iterator[tuple[Path, str]]:
        """Every file in it, however deep, with its key: the path without extension and modality's folder."""
        for place in self.places:
            for at, folders, names in os.walk(place, followlinks=True):
                if at.count(os.sep) - str(place).count(os.sep) > 20:
                    raise U2AError(f"{at}: folders within folders without end; is there a link in a circle?")
                folders[:] = sorted(name for name in folders if not beside(name))
                inner = "" if at == str(place) else f"{os.path.relpath(at, place)}/"
                for name in sorted(names):
                    if not beside(name):
                        yield Path(at) / name, f"{self.key}{inner}{os.path.splitext(name)[0]}"

    def opened(self, *, split: bool = False) -> Tree:
        """What it stands for: a folder alone in it that has folders, its modalities' folders over each other.

        Args:
            split: it is a split's folder, in which a folder alone may be a class.
        """
        folders = self.folders()
        if not folders or self.loose():
            return self
        if len(folders) == 1:
            (alone,) = folders
            general = alone.name == self.name or alone.name.casefold() in _GENERAL
            return alone.opened(split=split) if general or (not split and alone.folders()) else self
        if modalities(folders):
            return Tree(tuple(p for folder in folders for p in folder.places), self.key, self.name).opened(
                split=split
            )
        return self


def modalities(folders: list[Tree]) -> bool:
    """Whether folders hold the same samples, each another kind of file."""
    if not kinds_apart(folders):
        return False
    stems = sorted(({key.removeprefix(folder.key) for _, key in folder.files()} for folder in folders), key=len)
    return all(2 * len(few & stems[-1]) >= len(few) for few in stems)


def kinds_apart(folders: list[Tree]) -> bool:
    """Whether no two of several folders hold files of one kind, so that they cannot be classes."""
    seen: set[str] = set()
    for folder in folders:
        kinds = {_kind(path) for (path, _), _ in zip(folder.files(), range(_SHOWN), strict=False)}
        if not kinds or kinds & seen:
            return False
        seen |= kinds
    return len(folders) > 1


def _kind(path: Path) -> str:
    return (guess_type(path.name)[0] or path.suffix.lower()).partition("/")[0]


def beside(name: str) -> bool:
    """Whether a name is one that file managers and archivers leave beside people's files."""
    plain = name.lower()
    left = plain.startswith((".", "__")) or plain in BESIDE_FOLDERS
    return left or any(fnmatchcase(plain, pattern) for pattern in BESIDE)
