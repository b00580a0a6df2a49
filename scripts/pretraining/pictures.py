"""Pictures for pretraining the quickstart's image encoder: shapes and fills that its task does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from u2a_quickstart import drawing
from u2a_quickstart.drawing import Outline, circle, polygon, star
from u2a_quickstart.video import Pattern

SIZE = 64


def _bar(left: float, top: float, right: float, bottom: float) -> drawing.Array:
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


_HEART = np.array(
    [
        (np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16)
        for t in np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ]
)

SHAPES: Mapping[str, Outline] = {
    "disk": ((circle(), 1),),
    "square": ((_bar(-0.8, -0.8, 0.8, 0.8), 1),),
    "triangle": ((circle(corners=3), 1),),
    "hexagon": ((circle(corners=6), 1),),
    "rhombus": ((polygon((0, -1), (0.55, 0), (0, 1), (-0.55, 0)), 1),),
    "heart": ((_HEART, 1),),
    "arrow": ((polygon((0, -1), (0.8, 0), (0.3, 0), (0.3, 1), (-0.3, 1), (-0.3, 0), (-0.8, 0)), 1),),
    "bar": ((_bar(-1, -0.25, 1, 0.25), 1),),
    "ellipse": ((circle() * (1, 0.5), 1),),
    "half_disk": ((circle(), 1), (_bar(-1.1, 0, 1.1, 1.1), 0)),
    "tee": ((_bar(-0.9, -0.9, 0.9, -0.35), 1), (_bar(-0.28, -0.9, 0.28, 0.9), 1)),
    "ell": ((_bar(-0.7, -0.9, -0.15, 0.9), 1), (_bar(-0.7, 0.35, 0.8, 0.9), 1)),
    "frame": ((_bar(-0.8, -0.8, 0.8, 0.8), 1), (_bar(-0.42, -0.42, 0.42, 0.42), 0)),
    "drop": ((circle(0.6, y=0.4), 1), (polygon((0, -1), (0.53, 0.15), (-0.53, 0.15)), 1)),
    "trapezoid": ((polygon((-0.4, -0.6), (0.4, -0.6), (1, 0.6), (-1, 0.6)), 1),),
    "chevron": ((polygon((0, -0.7), (1, 0.3), (1, 0.9), (0, -0.05), (-1, 0.9), (-1, 0.3)), 1),),
    "three_bars": tuple((_bar(-0.9, y - 0.17, 0.9, y + 0.17), 1) for y in (-0.65, 0.0, 0.65)),
    "hourglass": ((polygon((-0.8, -0.9), (0.8, -0.9), (-0.8, 0.9), (0.8, 0.9)), 1),),
    "four_star": ((star(4, 0.4), 1),),
    "sun": ((star(9, 0.7), 1),),
    "hollow_triangle": ((circle(corners=3), 1), (circle(0.5, corners=3), 0)),
    "wedge_out": ((circle(), 1), (polygon((0, 0), (1.2, -0.8), (1.2, 0.8)), 0)),
    "two_disks": ((circle(0.48, x=-0.52), 1), (circle(0.48, x=0.52), 1)),
    "arch": ((circle(), 1), (circle(0.5), 0), (_bar(-1.1, 0.1, 1.1, 1.1), 0)),
    "zed": (
        (polygon((-0.8, -0.9), (0.8, -0.9), (0.8, -0.45), (-0.1, 0.45), (0.8, 0.45), (0.8, 0.9), (-0.8, 0.9),
                 (-0.8, 0.45), (0.1, -0.45), (-0.8, -0.45)), 1),
    ),
}  # fmt: skip


#: Shapes with room for a fill.
_ROOMY = ("disk", "square", "triangle", "hexagon", "heart", "ellipse", "trapezoid", "half_disk")


def _bricks(u: drawing.Array, v: drawing.Array, n: float) -> NDArray[np.bool_]:
    row = np.floor(v * n / 2)
    return ((v * n / 2) % 1 < 0.25) | ((u * n / 3 + row / 2) % 1 < 0.18)


FILLS: Mapping[str, Pattern] = {
    "plain": lambda u, v, n: u > 9,
    "pales": lambda u, v, n: (u * n / 2) % 1 < 0.5,
    "bend": lambda u, v, n: ((u + v) * n / 2.8) % 1 < 0.5,
    "bend_left": lambda u, v, n: ((u - v) * n / 2.8) % 1 < 0.5,
    "grid": lambda u, v, n: ((u * n / 2) % 1 < 0.25) | ((v * n / 2) % 1 < 0.25),
    "rings": lambda u, v, n: (np.hypot(u, v) * n / 1.6) % 1 < 0.5,
    "halves": lambda u, v, n: u > 0,
    "bricks": _bricks,
    "waves": lambda u, v, n: (u * n / 2 + 0.2 * np.sin(v * n * np.pi)) % 1 < 0.5,
    "triangles": lambda u, v, n: (v * n / 2) % 1 > 2 * np.abs((u * n / 2) % 1 - 0.5),
    "plusses": lambda u, v, n: (
        (np.minimum(np.abs((u * n / 2) % 1 - 0.5), np.abs((v * n / 2) % 1 - 0.5)) < 0.12)
        & (np.maximum(np.abs((u * n / 2) % 1 - 0.5), np.abs((v * n / 2) % 1 - 0.5)) < 0.4)
    ),
    "lozenges": lambda u, v, n: np.abs((u * n / 2) % 1 - 0.5) + np.abs((v * n / 2) % 1 - 0.5) < 0.35,
}


@dataclass(frozen=True)
class Picture:
    """One shape with one fill on a ground.

    Attributes:
        pixels: uint8 (48, 48, 3).
        outline: bool (48, 48), where the shape is.
        second: bool (48, 48), where the fill's second colour is.
        shape: number in SHAPES.
        fill: number in FILLS.
    """

    pixels: NDArray[np.uint8]
    outline: NDArray[np.bool_]
    second: NDArray[np.bool_]
    shape: int
    fill: int


def picture(seed: int) -> Picture:
    """Drawn at 64 pixels, like the task's, and scaled to the encoder's 48."""
    rng = np.random.default_rng([1, seed])
    fill = int(rng.integers(1, len(FILLS))) if rng.random() < 0.5 else 0
    shape = list(SHAPES).index(rng.choice(_ROOMY)) if fill else int(rng.integers(len(SHAPES)))
    ground, ink = drawing.two_colours(rng)
    scene = np.broadcast_to(ground, (SIZE, SIZE, 3)).copy()
    if rng.random() < 0.5:  # a horizon
        scene[rng.integers(SIZE // 2, SIZE) :] = rng.random(3)
    radius = rng.uniform(0.25 if fill == 0 else 0.34, 0.46) * SIZE
    centre = tuple(SIZE / 2 + rng.uniform(-0.12, 0.12, 2) * SIZE)
    cover = drawing.mask(list(SHAPES.values())[shape], SIZE, centre, radius, rng.uniform(0, 2 * np.pi))
    # The fill turns by little: a large turn would make one fill of another.
    u, v = drawing.local_grid(SIZE, centre, radius, rng.uniform(-0.2, 0.2))
    second = list(FILLS.values())[fill](u + rng.uniform(-0.2, 0.2), v, rng.uniform(2.6, 4))
    colours = np.where(second[..., None], drawing.two_colours(rng)[0], ink)
    scene = drawing.paint(scene, cover, colours) * drawing.light(rng, SIZE)
    fog = rng.uniform(0, 0.5) * (rng.random() < 0.4)
    pixels = drawing.to_bytes(scene * (1 - fog) + 0.75 * fog, rng, rng.uniform(0.01, 0.08))
    return Picture(
        pixels=_scaled(pixels),
        outline=_scaled((cover * 255).astype(np.uint8)) > 127,
        second=_scaled((cover * second * 255).astype(np.uint8)) > 127,
        shape=shape,
        fill=fill,
    )


def _scaled(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize((48, 48), Image.Resampling.BILINEAR))
