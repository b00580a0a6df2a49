"""A Python caller's picture as PNG bytes; reading is `u2a.media.pictures`, which the gallery uses as well."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from u2a.errors import BadSample
from u2a.media.pictures import decode_rgb, to_rgb

__all__ = ["decode_rgb", "encode_png"]


def encode_png(value: Any) -> bytes:
    """A PIL image, or an array [H, W] or [H, W, 3], uint8 or float in 0..1, as PNG bytes.

    Raises:
        BadSample: another type or shape.
    """
    image = value if isinstance(value, Image.Image) else Image.fromarray(_as_uint8(np.asarray(value)))
    buffer = io.BytesIO()
    to_rgb(ImageOps.exif_transpose(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def _as_uint8(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise BadSample(f"an image array must be [H, W] or [H, W, 3], not {list(array.shape)}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating) or not (array.min() >= 0 and array.max() <= 1):
        raise BadSample(f"an image array must be uint8, or float in 0..1, not {array.dtype}")
    return (array * 255).round().astype(np.uint8)
