"""Bytes of a depth map to metres: 16-bit PNG in millimetres, or NPY of floats in metres; and back."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from u2a.errors import BadSample

#: Larger maps are refused before their values are read.
MAX_PIXELS = 89_478_485
MILLIMETRES = 0.001
_NPY = b"\x93NUMPY"


def decode_depth(member: bytes) -> np.ndarray:
    """Depth in metres, float32 [H, W]; invalid places (0, negative, NaN or infinite in the file) are NaN.

    Raises:
        BadSample: another format, not a map, too large, truncated, or without one valid place.
    """
    if not member:
        raise BadSample("empty file")
    metres_HW = _decode_npy(member) if member.startswith(_NPY) else _decode_png(member)
    valid_HW = np.isfinite(metres_HW) & (metres_HW > 0)
    if not valid_HW.any():
        raise BadSample("no place of the depth map has a valid depth")
    return np.where(valid_HW, metres_HW, np.float32(np.nan))


def encode_npy(value: Any) -> bytes:
    """A float array or tensor [H, W] in metres as NPY bytes.

    Raises:
        BadSample: another type or shape.
    """
    array = np.asarray(value)
    _check(array.shape, array.dtype)
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


def _decode_png(member: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(member), formats=("PNG",)) as image:
            if not image.mode.startswith("I"):
                raise BadSample(f"a depth PNG has one 16-bit channel (millimetres), this one is {image.mode!r}")
            if image.width * image.height > MAX_PIXELS:
                raise BadSample(f"a map of {image.width} x {image.height} is larger than {MAX_PIXELS} places")
            return np.asarray(image).astype(np.float32) * np.float32(MILLIMETRES)
    except BadSample:
        raise
    except Exception as error:  # a damaged file can raise nearly anything inside a codec
        raise BadSample(f"cannot be decoded as 16-bit PNG or as NPY: {_short(error)}") from None


def _decode_npy(member: bytes) -> np.ndarray:
    stream = io.BytesIO(member)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        _check(shape, dtype)  # before np.load would make an array of that size
        stream.seek(0)
        return np.load(stream, allow_pickle=False).astype(np.float32)
    except BadSample:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise BadSample(f"cannot be decoded as NPY: {_short(error)}") from None


def _check(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 2 or not 0 < math.prod(shape) <= MAX_PIXELS:
        raise BadSample(f"a depth array must be [H, W] with at most {MAX_PIXELS} places, not {list(shape)}")
    if not np.issubdtype(dtype, np.floating):
        raise BadSample(f"a depth array must be float, in metres, not {dtype}")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
