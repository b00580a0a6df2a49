"""The flag: its emblem is the sign; colours, place, size, turn, light, hoist band and grain say nothing."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from u2a_quickstart import drawing
from u2a_quickstart.drawing import Outline, circle, polygon, star

SIZE = 64

_ARM = 0.34
EMBLEMS: Mapping[str, Outline] = {
    "star": ((star(5, 0.42), 1),),
    "cross": (
        (polygon((-_ARM, -1), (_ARM, -1), (_ARM, 1), (-_ARM, 1)), 1),
        (polygon((-1, -_ARM), (1, -_ARM), (1, _ARM), (-1, _ARM)), 1),
    ),
    "ring": ((circle(), 1), (circle(0.58), 0)),
    "crescent": ((circle(), 1), (circle(0.82, x=0.42), 0)),
}


def flag(rng: np.random.Generator, outline: Outline) -> NDArray[np.uint8]:
    """A flag with the outline as its emblem: uint8 (SIZE, SIZE, 3)."""
    ground, ink = drawing.two_colours(rng)
    picture = np.broadcast_to(ground, (SIZE, SIZE, 3)).copy()
    if rng.random() < 0.5:  # a band along the hoist
        picture[:, : rng.integers(3, 9)] = rng.random(3)
    radius = rng.uniform(0.25, 0.42) * SIZE
    x, y = SIZE / 2 + rng.uniform(-0.1, 0.1, 2) * SIZE
    emblem = drawing.mask(outline, SIZE, (x, y), radius, rng.uniform(0, 2 * np.pi))
    return drawing.to_bytes(
        drawing.paint(picture, emblem, ink) * drawing.light(rng, SIZE), rng, grain=rng.uniform(0.01, 0.08)
    )


def png(rng: np.random.Generator, sign: str) -> bytes:
    """A PNG file of a flag with the sign as its emblem."""
    out = io.BytesIO()
    Image.fromarray(flag(rng, EMBLEMS[sign])).save(out, "PNG")
    return out.getvalue()
