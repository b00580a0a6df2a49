"""Masks: pictures that say where in others something is, and are no samples of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from u2a.starting.trees import Tree, modalities

_FOLDERS = frozenset(
    ("mask", "masks", "trimap", "trimaps", "segmentation", "segmentations", "annotations", "gt", "groundtruth")
)
_NAME = re.compile(r"[_-](mask|masks|seg|segmentation|gt)([_-]?\d+)?$", re.IGNORECASE)


def unmasked(key: str) -> str:
    """The name of what a file is the mask of; its own if it is called like none."""
    return _NAME.sub("", key)


def is_mask(path: str) -> bool:
    """Whether a file is called like a mask of another one, or lies in a folder that is."""
    *folders, name = path.replace("\\", "/").split("/")
    stem = os.path.splitext(name)[0]
    return any(map(_holds_masks, folders)) or unmasked(stem) != stem


def without_masks(tree: Tree) -> tuple[Tree, list[str]]:
    """A folder without those in it that hold masks of the files in the others, and these masks' keys."""
    folders = tree.folders()
    masks = [folder for folder in folders if _holds_masks(folder.name)]
    rest = [folder for folder in folders if folder not in masks]
    if not masks or tree.loose() or not (len(rest) == 1 or modalities(rest)):
        return tree, []
    if not all(_belong(folder, rest) for folder in masks):
        return tree, []
    return Tree(tuple(p for f in rest for p in f.places), tree.key, tree.name), [
        key for folder in masks for _, key in folder.files()
    ]


def _holds_masks(folder: str) -> bool:
    return re.sub(r"[^a-z]", "", folder.casefold()) in _FOLDERS


def _belong(masks: Tree, others: Sequence[Tree]) -> bool:
    """Whether most files are called as one of the others."""
    names = {key.removeprefix(other.key) for other in others for _, key in other.files()}
    own = [unmasked(key.removeprefix(masks.key)) for _, key in masks.files()]
    return 2 * sum(key in names for key in own) > len(own)
