"""Folders of class folders, with or without folders of splits above them, and ``metadata.csv`` beside files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from u2a.common.values import nfc
from u2a.data.shards.names import BESIDE, BESIDE_FOLDERS, SPLITS
from u2a.errors import U2AError

METADATA = "a folder with a metadata table"
_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "metadata.tsv")
_SPLITS = {other: name for name, others in SPLITS.items() for other in (name, *others)}
_SPLITS |= {"eval": "val", "evaluation": "val"}
#: The column of files that have an extension, in rows of class folders.
FILES = "files"


def split_name(value: Any) -> str | None:
    """``train``, ``val`` or ``test`` for what people call them; None for all else."""
    return _SPLITS.get(str(value).strip().casefold())


def metadata_tables(path: Path) -> dict[Path, str | None]:
    """Tables that describe the files beside them, with the split that their folder names."""
    found: dict[Path, str | None] = {path / n: None for n in _NAMES if (path / n).is_file()}
    for folder in _folders(path):
        if split := split_name(folder.name):
            found |= {folder / name: split for name in _NAMES if (folder / name).is_file()}
    return found


def has_class_folders(path: Path) -> bool:
    """Whether a folder, or one that is alone in it, holds folders."""
    return bool(_folders(_top(path)))


def class_rows(path: Path, problems: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A row a sample: label, split if there are such folders, key, and its files by extension.

    Files of one folder that differ in their extension alone are one sample.

    Raises:
        U2AError: files lie where no class is named.
    """
    top = _top(path)
    folders = _folders(top)
    splits = {folder: split_name(folder.name) for folder in folders}
    parted = [folder for folder in folders if splits[folder]]
    if parted and len(parted) == len(folders):
        for folder in folders:
            if not _folders(folder):
                raise U2AError(
                    f"{folder}: holds no class folders, so its files have no label; put a folder for each "
                    "class into it, or make a table with the columns file and label"
                )
            yield from _classes(path, folder, splits[folder])
        return
    if parted and len(folders) > 1:
        others = [folder.name for folder in folders if not splits[folder]]
        raise U2AError(
            f"{top}: holds folders of splits ({parted[0].name}) beside others ({others[0]}); move one kind away"
        )
    yield from _classes(path, top, None)


def _classes(root: Path, top: Path, split: str | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for folder in _folders(top):
        samples: dict[str, dict[str, str]] = {}
        for file in _files(folder):
            stem, extension = _cut(file.name)
            place = str(file.relative_to(root))
            files = samples.setdefault(str(file.parent.relative_to(root) / stem), {})
            if extension in files:
                raise U2AError(f"{root / place}: is there twice, with another case: {files[extension]}")
            files[extension] = place
        for key, files in samples.items():
            row = {"key": nfc(key), "label": nfc(folder.name), FILES: files}
            yield str(next(iter(files.values()))), row | ({"split": split} if split else {})


def _cut(name: str) -> tuple[str, str]:
    stem, extension = os.path.splitext(name)
    return stem, extension.lower().lstrip(".")


def _top(path: Path) -> Path:
    """What an archive was unpacked to: a folder that is alone in its folder, and has folders in it."""
    folders = _folders(path)
    if len(folders) == 1 and not _any_file(path) and _folders(folders[0]) and not split_name(folders[0].name):
        return _top(folders[0])
    return path


def _any_file(path: Path) -> bool:
    return any(entry.is_file() and not beside(entry.name) for entry in path.iterdir())


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not beside(entry.name))


def _files(folder: Path) -> list[Path]:
    found = []
    for at, folders, names in os.walk(folder, followlinks=True):
        if at.count(os.sep) - str(folder).count(os.sep) > 20:
            raise U2AError(f"{at}: folders within folders without end; is there a link in a circle?")
        folders[:] = sorted(name for name in folders if not beside(name))
        found += [Path(at) / name for name in sorted(names) if not beside(name) and "." in name]
    return found


def beside(name: str) -> bool:
    """Whether a name is one that file managers and archivers leave beside people's files."""
    plain = name.lower()
    left = plain.startswith((".", "__")) or plain in BESIDE_FOLDERS
    return left or any(fnmatchcase(plain, pattern) for pattern in BESIDE)
