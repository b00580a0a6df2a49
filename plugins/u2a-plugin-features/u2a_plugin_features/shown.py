"""Vectors for people: a small grey picture. T vectors, F numbers."""

from __future__ import annotations

import numpy as np
from PIL import Image

import u2a

#: Deviations from the mean that are white or black.
MOST = 3.0
HEIGHT = 4


def picture(example: u2a.Example, width: int) -> Image.Image:
    """Standardised ``values`` [T, F] as a picture of T rows, at most `width` pixels wide and high."""
    values_TF = example["values"].numpy()
    grey_TF = (np.clip(values_TF / MOST, -1, 1) * 127.5 + 127.5).round().astype(np.uint8)
    shown = Image.fromarray(grey_TF)
    size = min(width, grey_TF.shape[1] * HEIGHT), min(width, grey_TF.shape[0] * HEIGHT)
    return shown.resize(size, Image.Resampling.BOX if size < shown.size else Image.Resampling.NEAREST)
