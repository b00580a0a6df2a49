"""Folders of class folders, with or without folders of splits above or below them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from u2a.common.values import nfc
from u2a.errors import U2AError
from u2a.media.magic import type_of
from u2a.starting.captions import joined
from u2a.starting.folders import TABLES, split_in, split_name
from u2a.starting.masks import unmasked, without_masks
from u2a.starting.trees import Tree, kinds_apart

#: The column of files that have an extension, in rows of class folders.
FILES = "files"
#: Numbered folders that divide the samples otherwise than by class.
_FOLDS = frozenset(("fold", "part", "batch", "data_batch", "chunk", "shard", "session", "run", "round"))
_PEOPLE = frozenset(("patient", "subject", "participant", "speaker", "actor", "person", "user"))
_NUMBERED = re.compile(r"[ _-]?\d+$")


@dataclass(frozen=True)
class Part:
    """Class folders of one split, or of one fold; the folders' names are the classes."""

    classes: Sequence[Tree]
    split: str | None = None
    group: str | None = None


@dataclass
class Layout:
    """Which folders are classes.

    Attributes:
        root: the folder that a person named.
        parts: the class folders.
        notes: what a person should know, by subject.
    """

    root: Path
    parts: list[Part]
    notes: dict[str, str] = field(default_factory=dict)

    def rows(self, problems: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """A row a sample: label, split and group if folders say them, key, and its files by extension.

        Files of one folder that differ in their extension alone are one sample.

        Raises:
            U2AError: a file is there twice.
        """
        bare: list[str] = []
        masks: list[str] = []
        for part in self.parts:
            said = {"split": part.split, "group": part.group}
            for folder in part.classes:
                found, in_folders = without_masks(folder)
                masks += in_folders
                samples = self._samples(found.opened(split=True), bare)
                masks += (own := [key for key in samples if unmasked(key) in samples.keys() - {key}])
                for key in own:
                    del samples[key]
                for key, files in joined(samples).items():
                    row = {"key": nfc(key), "label": nfc(folder.name), FILES: files}
                    yield str(next(iter(files.values()))), row | {n: v for n, v in said.items() if v}
        if masks:
            self.notes["masks"] = _masks_left_out(masks)
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
    top, masks = without_masks(top)
    top = top.opened() if masks else top
    found = _of_top(path, top)
    if masks and isinstance(found, Layout):
        found.notes["mask folders"] = _masks_left_out(masks)
    return found


def _of_top(path: Path, top: Tree) -> Layout | str:
    folders = top.folders()
    named = _split_folders([folder.name for folder in folders])
    if named and any(folder.opened(split=True).folders() for folder in folders):
        return _parted(path, top, named)
    notes = {}
    if named and not (set(named.values()) == {"train", None} and len(folders) > 2):
        without = [folder for folder in folders if named[folder.name]]
        folders = [folder for folder in folders if not named[folder.name]]
        if len(folders) < 2 or any(named[folder.name] == "train" for folder in without):
            return _no_classes(next((f.name for f in without if named[f.name] == "train"), without[0].name))
        notes = {folder.name: _unlabelled(folder.name) for folder in without}
    if len(folders) < 2:
        return "holds no class folders"
    if kinds_apart(folders):
        names = " and ".join(folder.name for folder in folders[:3])
        return f"its folders ({names}) hold different kinds of files, so they are no classes; name one of them"
    layout = _of_folds(path, folders) or _of_classes(path, folders)
    layout.notes |= notes
    return _noted(layout, top)


def _of_folds(path: Path, folders: Sequence[Tree]) -> Layout | None:
    """The layout of folders that are folds, or people, each with the same class folders; else None."""
    inside = [folder.folders() for folder in folders]
    classes = {folder.name for found in inside for folder in found}
    kinds = {_NUMBERED.sub("", folder.name).casefold() for folder in folders}
    if len(kinds) > 1 or not kinds <= _FOLDS | _PEOPLE or len(classes) < 2:
        return None
    if not all(2 * len(found) > len(classes) for found in inside):
        return None
    whose = [folder.name if kinds <= _PEOPLE else None for folder in folders]
    layout = Layout(path, [Part(found, group=who) for found, who in zip(inside, whose, strict=True)])
    named = f"{folders[0].name} to {folders[-1].name}"
    layout.notes["folds"] = f"{named} hold the same folders each, which are the classes"
    return layout


def _of_classes(path: Path, folders: Sequence[Tree]) -> Layout:
    """The layout of class folders; those in each of them that are all called like splits are the splits."""
    inside = {folder.name: folder.folders() for folder in folders}
    names = [{folder.name for folder in found} for found in inside.values()]
    if not all("train" in map(split_name, found) and all(map(split_name, found)) for found in names):
        return Layout(path, [Part(folders)])
    parts = [
        Part([replace(one, name=name)], split_name(one.name)) for name, found in inside.items() for one in found
    ]
    return Layout(path, parts)


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
    parts = [Part(opened[name].folders(), named[name]) for name in holding if named[name]]
    if others := [name for name in holding if not named[name]]:
        split = next(name for name in named if named[name])
        return f"holds folders of splits ({split}) beside others ({others[0]}); move one kind away"
    if twice := next((n for n in holding if [part.split for part in parts].count(named[n]) > 1), None):
        return f"has several folders of split {named[twice]}, one of them {twice}; move the others away"
    if "train" not in (part.split for part in parts):
        without = (n for n in opened if n not in holding and named[n] == "train")
        return _no_classes(next(without, next(iter(opened))))
    layout = Layout(path, parts)
    for name in (name for name in opened if name not in holding):
        layout.notes[name] = _unlabelled(name)
    return _noted(layout, top)


def _masks_left_out(keys: Sequence[str]) -> str:
    return f"{len(keys)} masks of other files are left out ({keys[0]})"


def _no_classes(name: str) -> str:
    return (
        f"{name} holds no class folders, so its files have no label; put a folder for each class into it, or "
        "make a table with the columns file and label"
    )


def _unlabelled(name: str) -> str:
    return f"{name} holds no class folders: its files have no label and are left out"


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
