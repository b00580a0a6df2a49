"""Folders of class folders, with or without folders of splits above them, and tables beside files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from u2a.common.values import nfc
from u2a.data.shards.names import SPLIT_OF
from u2a.errors import U2AError
from u2a.media.magic import type_of
from u2a.starting.trees import Tree, kinds_apart

METADATA = "a folder with a metadata table"
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "metadata.tsv")
_SPLITS = SPLIT_OF | {"eval": "val", "evaluation": "val"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MASK = re.compile(r"[_-](mask|masks|seg|segmentation|gt)([_-]?\d+)?$", re.IGNORECASE)
#: The column of files that have an extension, in rows of class folders.
FILES = "files"


def split_name(value: Any) -> str | None:
    """``train``, ``val`` or ``test`` for what people call them; None for all else."""
    return _SPLITS.get(str(value).strip().casefold())


def split_in(name: str) -> str | None:
    """The split that one word of a name says: ``val2017``, ``seg_test``, ``TestSet``; else None."""
    words = (word.lower().removesuffix("set") for word in _WORD.findall(name))
    found = {split for word in words if (split := split_name(word))}
    return found.pop() if len(found) == 1 else None


def metadata_tables(path: Path) -> dict[Path, str | None]:
    """Tables that describe the files beside them, with the split that their folder names."""
    found: dict[Path, str | None] = {path / n: None for n in _NAMES if (path / n).is_file()}
    for folder in Tree((path,)).folders():
        if split := split_name(folder.name):
            found |= {path / folder.name / n: split for n in _NAMES if (path / folder.name / n).is_file()}
    return found


@dataclass
class Layout:
    """Which folders are classes.

    Attributes:
        root: the folder that a person named.
        parts: folders of class folders, with their splits.
        notes: what a person should know, by subject.
    """

    root: Path
    parts: list[tuple[Tree, str | None]]
    notes: dict[str, str] = field(default_factory=dict)

    def rows(self, problems: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A row a sample: label, split if there are such folders, key, and its files by extension.

        Files of one folder that differ in their extension alone are one sample.

        Raises:
            U2AError: a file is there twice.
        """
        bare: list[str] = []
        masks: list[str] = []
        for part, split in self.parts:
            for folder in part.folders():
                samples = self._samples(folder.opened(split=True), bare)
                masks += (own := [key for key in samples if _MASK.sub("", key) in samples.keys() - {key}])
                for key in own:
                    del samples[key]
                for key, files in samples.items():
                    row = {"key": nfc(key), "label": nfc(folder.name), FILES: files}
                    yield str(next(iter(files.values()))), row | ({"split": split} if split else {})
        if masks:
            self.notes["masks"] = f"{len(masks)} masks of other files are left out ({masks[0]})"
        if bare:
            where = f"({bare[0]}) and whose first bytes tell nothing"
            self.notes["bare"] = f"{len(bare)} files are left out, whose names have no extension {where}"

    def _samples(self, folder: Tree, bare: list[str]) -> dict[str, dict[str, str]]:
        samples: dict[str, dict[str, str]] = {}
        for path, key in folder.files():
            place = str(path.relative_to(self.root))
            extension = os.path.splitext(path.name)[1].lower().lstrip(".") or _kind_of(path)
            if not extension:
                bare.append(place)
                continue
            files = samples.setdefault(key, {})
            if extension in files:
                raise U2AError(f"{path}: is there twice, with another case: {files[extension]}")
            files[extension] = place
        return samples


def _kind_of(path: Path) -> str:
    """The extension that a file without one should have; nothing if its first bytes do not tell."""
    with open(path, "rb") as stream:
        kind = type_of(stream.read(64))
    return "" if kind == "unknown" else kind


def find_layout(path: Path) -> Layout | str:
    """Which folders of a folder are classes, or why there are none."""
    top = Tree((path,))
    top = top if split_name(_alone(top)) else top.opened()
    folders = top.folders()
    if named := _split_folders([folder.name for folder in folders]):
        return _parted(path, top, named)
    if len(folders) < 2:
        return "holds no class folders"
    if kinds_apart(folders):
        names = " and ".join(folder.name for folder in folders[:3])
        return f"its folders ({names}) hold different kinds of files, so they are no classes; name one of them"
    return _noted(Layout(path, [(top, None)]), top)


def _split_folders(names: Sequence[str]) -> dict[str, str | None]:
    """The split of each folder, if some are splits: by name, else by a word where that tells several apart."""
    exact = {name: split_name(name) for name in names}
    loose = {name: split_in(name) for name in names}
    if any(exact.values()):
        return loose if all(loose.values()) else exact
    return loose if len({split for split in loose.values() if split}) > 1 else {}


def _alone(tree: Tree) -> str:
    folders = tree.folders()
    return folders[0].name if len(folders) == 1 else ""


def _parted(path: Path, top: Tree, named: Mapping[str, str | None]) -> Layout | str:
    """The layout of folders of splits; those without class folders have no labels and are left out."""
    opened = {folder.name: folder.opened(split=True) for folder in top.folders()}
    holding = [name for name, folder in opened.items() if folder.folders()]
    parts = [(opened[name], named[name]) for name in holding if named[name]]
    if others := [name for name in holding if not named[name]]:
        split = next(name for name in named if named[name])
        return f"holds folders of splits ({split}) beside others ({others[0]}); move one kind away"
    if twice := next((n for n in holding if [s for _, s in parts].count(named[n]) > 1), None):
        return f"has several folders of split {named[twice]}, one of them {twice}; move the others away"
    if "train" not in (split for _, split in parts):
        without = next((n for n in opened if n not in holding and named[n] == "train"), next(iter(opened)))
        return (
            f"{without} holds no class folders, so its files have no label; put a folder for each class into "
            "it, or make a table with the columns file and label"
        )
    layout = Layout(path, parts)
    for name in (name for name in opened if name not in holding):
        layout.notes[name] = f"{name} holds no class folders: its files have no label and are left out"
    return _noted(layout, top)


def _noted(layout: Layout, top: Tree) -> Layout:
    """Say what lies beside the folders and is not read."""
    loose = top.loose()
    tables = [file for file in loose if file.suffix.lower() in TABLES]
    if tables:
        layout.notes["tables"] = (
            f"{tables[0].name} is not read; to take the table instead: u2a init {tables[0]}"
        )
    if others := [file.name for file in loose if file not in tables and file.suffix]:
        layout.notes["loose"] = f"{len(others)} files beside the class folders are left out ({others[0]})"
    return layout
