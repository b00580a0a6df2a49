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
    """A PIL image, or an array [H, W], [H, W, 1] or [H, W, 3], uint8 or float in 0..1, as PNG bytes.

    Raises:
        BadSample: another type or shape.
    """
    image = value if isinstance(value, Image.Image) else Image.fromarray(_as_uint8(np.asarray(value)))
    buffer = io.BytesIO()
    to_rgb(ImageOps.exif_transpose(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def _as_uint8(array: np.ndarray) -> np.ndarray:
    shape = list(array.shape)
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (3, 4)) or not array.size:
        channels_first = len(shape) == 3 and shape[0] in (1, 3, 4) and array.size
        hint = "; if it is [3, H, W]: permute(1, 2, 0), of arrays transpose(1, 2, 0)" if channels_first else ""
        raise BadSample(f"an image array must be [H, W] or [H, W, 3], not {shape}{hint}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise BadSample(f"an image array must be uint8, or float in 0..1, not {array.dtype}")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):
        raise BadSample(
            f"an image array must be uint8, or float in 0..1, not {array.dtype} in {low:g}..{high:g}"
        )
    return (array * 255).round().astype(np.uint8)
