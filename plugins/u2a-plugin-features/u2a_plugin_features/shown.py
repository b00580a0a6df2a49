"""Vectors for people: a small grey picture. T vectors, F numbers."""

from __future__ import annotations

import numpy as np
from PIL import Image

#: Deviations from the mean that are white or black.
MOST = 3.0
HEIGHT = 4


def own_scale(values_TF: np.ndarray) -> np.ndarray:
    """Standardised by all of its own numbers."""
    return (values_TF - values_TF.mean()) / max(float(values_TF.std()), 1e-30)


def picture(values_TF: np.ndarray, width: int) -> Image.Image:
    """Standardised vectors as a picture of T rows, at most `width` pixels wide and high."""
    grey_TF = (np.clip(values_TF / MOST, -1, 1) * 127.5 + 127.5).round().astype(np.uint8)
    shown = Image.fromarray(grey_TF)
    size = min(width, grey_TF.shape[1] * HEIGHT), min(width, grey_TF.shape[0] * HEIGHT)
    return shown.resize(size, Image.Resampling.BOX if size < shown.size else Image.Resampling.NEAREST)
