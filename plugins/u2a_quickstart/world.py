"""The task behind the files: ships, the signs that they show, and how often a sign is the wrong one.

A sample is one sighting of one of twelve ships. Each modality shows one of four signs, and three ships
share each sign, so that no modality can name the ship. The code is the affine plane of order 4 without
one line: two signs of different modalities have at most one ship in common, so that any two right signs
name it. Signs are wrong now and then, independently of each other, which makes the third and the fourth
modality worth having.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MODALITIES = ("image", "audio", "text", "video")

CLASSES = (
    "albatross", "bonito", "cormorant", "dolphin", "egret", "fulmar",
    "gannet", "heron", "ibis", "jacana", "kittiwake", "lapwing",
)  # fmt: skip

#: What each modality can show: the flag's emblem, the horn's signal, the cargo's family, the sail's pattern.
SIGNS: Mapping[str, tuple[str, ...]] = {
    "image": ("star", "cross", "ring", "crescent"),
    "audio": ("rise", "double", "warble", "step_down"),
    "text": ("fruit", "timber", "metal", "cloth"),
    "video": ("bands", "checks", "dots", "zigzag"),
}

#: Probability that a modality shows one of the three other signs instead, each equally often.
WRONG: Mapping[str, float] = {"image": 0.10, "audio": 0.15, "text": 0.10, "video": 0.20}

#: For each modality, the right sign (an index into SIGNS) of each ship.
CODE: Mapping[str, tuple[int, ...]] = {
    "image": (0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3),
    "audio": (1, 0, 3, 2, 2, 3, 0, 1, 3, 2, 1, 0),
    "text": (2, 3, 0, 1, 3, 2, 1, 0, 1, 0, 3, 2),
    "video": (3, 2, 1, 0, 1, 0, 3, 2, 2, 3, 0, 1),
}


def draw_signs(rng: np.random.Generator, ship: int) -> dict[str, str]:
    """The sign that each modality shows in one sighting of ``CLASSES[ship]``, wrong ones included."""
    return {m: SIGNS[m][_shown(rng, CODE[m][ship], WRONG[m])] for m in MODALITIES}


def _shown(rng: np.random.Generator, right: int, wrong: float) -> int:
    if rng.random() >= wrong:
        return right
    return (right + int(rng.integers(1, 4))) % 4
