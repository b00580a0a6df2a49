"""CIE L*a*b* pictures (TIFF) as sRGB, by the formulas; Pillow's own conversion makes pure blue 22 of 255 red.

Shape suffixes: N pixels, 3 channels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_WHITE = np.array([0.96422, 1.0, 0.82521], np.float32)  # D50, TIFF's white of L*a*b*
#: XYZ of D50 to linear sRGB (D65), by Bradford's adaptation: Lindbloom, http://www.brucelindbloom.com
_TO_RGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    np.float32,
)
_BEND = 6 / 29
_AT_ONCE = 1 << 20  # pixels


def lab_to_rgb(image: Image.Image) -> Image.Image:
    """Mode ``LAB`` (lightness 0..255; a and b as signed bytes) as 8-bit RGB."""
    lab_N3 = np.array(image).reshape(-1, 3)
    parts = [_part(lab_N3[at : at + _AT_ONCE]) for at in range(0, len(lab_N3), _AT_ONCE)]
    return Image.fromarray(np.concatenate(parts).reshape(image.height, image.width, 3))


def _part(lab_N3: np.ndarray) -> np.ndarray:
    light_N = lab_N3[:, 0].astype(np.float32)
    a_N, b_N = lab_N3[:, 1:].view(np.int8).astype(np.float32).T
    y_N = (light_N * (100 / 255) + 16) / 116
    f_N3 = np.stack([y_N + a_N / 500, y_N, y_N - b_N / 200], axis=1)
    xyz_N3 = _WHITE * np.where(f_N3 > _BEND, f_N3**3, 3 * _BEND**2 * (f_N3 - 4 / 29))
    linear_N3 = np.clip(xyz_N3 @ _TO_RGB.T, 0, 1)
    bright_N3 = np.where(linear_N3 <= 0.0031308, 12.92 * linear_N3, 1.055 * linear_N3 ** (1 / 2.4) - 0.055)
    return np.rint(255 * bright_N3).astype(np.uint8)
