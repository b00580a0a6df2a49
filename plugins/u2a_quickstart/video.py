"""The sail: its pattern is the sign, seen in every frame; course, swell, fog and colours say nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import av
import numpy as np
from numpy.typing import NDArray

from u2a_quickstart import drawing
from u2a_quickstart.drawing import Array, Outline, mask, paint, polygon

SIZE = 64
FRAMES = 6
FPS = 6

#: Patterns as functions of sail coordinates (u, v), about -1..1, and a number of repeats; True = second colour.
Pattern = Callable[[Array, Array, float], NDArray[np.bool_]]


def _dots(u: Array, v: Array, repeats: float) -> NDArray[np.bool_]:
    within_u, within_v = (u * repeats / 2) % 1 - 0.5, (v * repeats / 2) % 1 - 0.5
    return np.hypot(within_u, within_v) < 0.33


PATTERNS: Mapping[str, Pattern] = {
    "bands": lambda u, v, repeats: (v * repeats / 2) % 1 < 0.5,
    "checks": lambda u, v, repeats: ((u * repeats / 2) % 1 < 0.5) ^ ((v * repeats / 2) % 1 < 0.5),
    "dots": _dots,
    "zigzag": lambda u, v, repeats: (v * repeats / 2 + 0.8 * np.abs(u * repeats / 2 % 1 - 0.5)) % 1 < 0.5,
}
_SAIL: Outline = ((polygon((-0.75, -0.9), (0.75, -0.9), (0.85, 0.6), (-0.85, 0.6)), 1),)
_HULL: Outline = ((polygon((-1, 0.68), (1, 0.68), (0.7, 1), (-0.7, 1)), 1),)


def sailing(rng: np.random.Generator, sign: str) -> list[NDArray[np.uint8]]:
    """FRAMES pictures, uint8 (SIZE, SIZE, 3), of a ship that sails through the picture."""
    colours = drawing.two_colours(rng)
    sky, sea = rng.uniform(0.45, 1, 3), rng.uniform(0, 0.5, 3) * (0.5, 0.8, 1)
    hull, shade, fog_colour = rng.uniform(0, 0.5, 3), drawing.light(rng, SIZE), rng.uniform(0.6, 0.9)
    radius = rng.uniform(0.34, 0.44) * SIZE
    path_x = SIZE / 2 + np.linspace(-1, 1, FRAMES) * rng.choice((-1, 1)) * rng.uniform(0.05, 0.16) * SIZE
    swell = rng.uniform(0, 2 * np.pi) + np.arange(FRAMES) * rng.uniform(0.4, 0.9)
    repeats, shift, grain = rng.uniform(2.6, 3.8), rng.random(2), rng.uniform(0.01, 0.05)
    horizon = np.arange(SIZE)[:, None, None] > rng.uniform(0.55, 0.75) * SIZE
    frames = []
    for x, phase in zip(path_x, swell, strict=True):
        centre, angle = (float(x), 0.5 * SIZE + 2 * np.sin(phase)), 0.18 * np.cos(phase)
        u, v = drawing.local_grid(SIZE, centre, radius, angle)
        second = PATTERNS[sign](u + shift[0], v + shift[1], repeats)
        picture = np.where(horizon, sea, sky) * np.ones((SIZE, SIZE, 3))
        picture = paint(picture, mask(_HULL, SIZE, centre, radius, angle), hull)
        cloth = np.where(second[..., None], colours[0], colours[1])
        picture = paint(picture, mask(_SAIL, SIZE, centre, radius, angle), cloth) * shade
        fog = rng.uniform(0, 0.5)
        frames.append(drawing.to_bytes(picture * (1 - fog) + fog_colour * fog, rng, grain))
    return frames


def mp4(rng: np.random.Generator, sign: str) -> bytes:
    """An MP4 file (H.264, one second) of a ship whose sail has the sign as its pattern."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        # A constant quantiser: x264's rate control does not give the same bytes twice.
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "qp": "20"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on any number of cores
        for pixels in sailing(rng, sign):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()
