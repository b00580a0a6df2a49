"""Bytes to a series of numbers, and back."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from u2a.errors import BadSample

#: Larger series are refused before they are read.
MAX_NUMBERS = 100_000_000


def decode_series(member: bytes, features: int) -> np.ndarray:
    """The content of an NPY file, float32 [T, features].

    Raises:
        BadSample: another format or shape, too large, truncated, or with values that are not finite.
    """
    stream = io.BytesIO(member)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        _check(shape, dtype)  # before np.load would make an array of that size
        stream.seek(0)
        values_TF = np.load(stream, allow_pickle=False).astype(np.float32)
    except BadSample:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise BadSample(f"cannot be decoded as NPY: {' '.join(str(error).split())[:200]}") from None
    if values_TF.shape[1] != features:
        raise BadSample(f"has {values_TF.shape[1]} numbers a step, the recipe says features = {features}")
    if not np.isfinite(values_TF).all():
        raise BadSample("has values that are not finite")
    return values_TF


def encode_npy(value: Any) -> bytes:
    """A float array or tensor [T, F] as NPY bytes.

    Raises:
        BadSample: another type or shape.
    """
    array = np.asarray(value)
    _check(array.shape, array.dtype)
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


def _check(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 2 or not 0 < math.prod(shape) <= MAX_NUMBERS:
        raise BadSample(f"a series must be [T, F] with at most {MAX_NUMBERS} numbers, not {list(shape)}")
    if not np.issubdtype(dtype, np.floating):
        raise BadSample(f"a series must be float, not {dtype}")
