"""Drawing tools that pictures and films share: filled outlines, colours, light and noise.

Images are float arrays (height, width, 3) in 0..1 until `to_bytes`.
"""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float64]
#: Outlines in a unit disk, each with the value (1 = ink, 0 = hole) that fills it, painted in order.
Outline = tuple[tuple[Array, int], ...]

_FINE = 3  # the mask is drawn this many times larger, then reduced, for soft edges


def circle(radius: float = 1.0, x: float = 0.0, y: float = 0.0, corners: int = 40) -> Array:
    """A regular polygon with many corners."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) - np.pi / 2
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def star(points: int, inner: float) -> Array:
    """A star whose inner corners lie at ``inner`` of its radius."""
    corners = circle(corners=2 * points)
    corners[1::2] *= inner
    return corners


def polygon(*corners: tuple[float, float]) -> Array:
    """Corner points as an array."""
    return np.array(corners, dtype=float)


def mask(outline: Outline, size: int, centre: tuple[float, float], radius: float, angle: float) -> Array:
    """How much of each pixel the outline covers.

    Args:
        outline: what to draw, in a unit disk.
        size: edge of the square result in pixels.
        centre: (x, y) of the disk in pixels.
        radius: of the disk in pixels.
        angle: clockwise turn in radians.

    Returns:
        float array (size, size) in 0..1.
    """
    canvas = Image.new("L", (size * _FINE, size * _FINE), 0)
    draw = ImageDraw.Draw(canvas)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for corners, ink in outline:
        placed = (corners @ turn * radius + np.asarray(centre)) * _FINE
        draw.polygon([(float(x), float(y)) for x, y in placed], fill=255 * ink)
    return np.asarray(canvas.reduce(_FINE), dtype=float) / 255


def local_grid(size: int, centre: tuple[float, float], radius: float, angle: float) -> tuple[Array, Array]:
    """Each pixel's coordinates (u, v) in a turned unit disk, for patterns that move with an outline."""
    y, x = np.mgrid[:size, :size] + 0.5
    x, y = (x - centre[0]) / radius, (y - centre[1]) / radius
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def two_colours(rng: np.random.Generator, apart: float = 0.5) -> tuple[Array, Array]:
    """Two random colours that differ by at least ``apart`` (distance in RGB)."""
    while True:
        first, second = (
            np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 1), rng.uniform(0.15, 1)))
            for _ in range(2)
        )
        if np.linalg.norm(first - second) >= apart:
            return first, second


def paint(picture: Array, cover: Array, colour: Array) -> Array:
    """``picture`` with ``colour`` (one, or one a pixel) over it where ``cover`` is."""
    return picture * (1 - cover[..., None]) + colour * cover[..., None]


def light(rng: np.random.Generator, size: int, strength: float = 0.35) -> Array:
    """A smooth brightness factor (size, size, 1) that falls off in a random direction."""
    u, v = local_grid(size, (size / 2, size / 2), size / 2, rng.uniform(0, 2 * np.pi))
    return (1 + rng.uniform(0, strength) * u + rng.uniform(-0.1, 0.1) * np.sin(3 * v))[..., None]


def to_bytes(picture: Array, rng: np.random.Generator, grain: float) -> NDArray[np.uint8]:
    """8-bit pixels after adding normal noise of standard deviation ``grain``."""
    noisy = picture + grain * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(noisy * 255 + 0.5, 0, 255), dtype=np.uint8)
