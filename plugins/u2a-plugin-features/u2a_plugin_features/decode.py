"""Bytes of an NPY file to vectors, and back. T vectors of F numbers each."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from u2a.errors import BadSample, NoContent

#: Larger arrays are refused before they are read.
MAX_NUMBERS = 100_000_000
_WHAT = {"O": "objects, which only pickle could read", "c": "complex numbers", "M": "dates", "m": "times"}


def decode_vectors(member: bytes, size: int | None) -> np.ndarray:
    """One vector [F] or a sequence [T, F] of any number type and byte order, float32 [T, F], contiguous.

    Args:
        size: F; None = whatever it is.

    In a sequence, vectors of zeros before the first other one and behind the last are padding, and are left
    out; a single vector of zeros is a value (no word of a list occurs).

    Raises:
        BadSample: another format, type, size or number of axes, truncated, or values that are not finite.
        NoContent: a sequence without vectors, or of padding alone.
    """
    values = _read(member)
    if values.ndim == 1:
        values = values[None]
    if size is not None and values.shape[1] != size:
        turned = "; its other axis has: save the array transposed" if values.shape[0] == size else ""
        raise BadSample(f"has vectors of {values.shape[1]} numbers, the recipe says size = {size}{turned}")
    if not len(values):
        raise NoContent("is a sequence of 0 vectors; where there is none, leave it out")
    _check_finite(values)
    with np.errstate(over="ignore"):
        values_TF = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(values_TF).all():
        raise BadSample(f"holds {float(np.abs(values).max()):.3g}, which is too large for 32-bit numbers")
    filled = np.flatnonzero(values_TF.any(1))
    if len(values_TF) == 1:
        return values_TF
    if not len(filled):
        raise NoContent(
            f"is a sequence of {len(values_TF)} vectors of zeros alone; where there is none, leave it out"
        )
    return values_TF[filled[0] : filled[-1] + 1]


def size_of(member: bytes) -> int | None:
    """How many numbers the vectors of an NPY file have; None if it is none."""
    try:
        return decode_vectors(member, None).shape[1]
    except BadSample:
        return None


def encode_npy(value: Any) -> bytes:
    """An array, tensor or nested list, [F] or [T, F], as NPY bytes.

    Raises:
        BadSample: lists of different lengths, another type, or another number of axes.
    """
    try:
        array = np.asarray(value.detach().cpu().float() if hasattr(value, "detach") else value)
    except ValueError:
        raise BadSample("is a list of lists of different lengths") from None
    _check(array.shape, array.dtype)
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _read(member: bytes) -> np.ndarray:
    if member.startswith(b"PK"):
        raise BadSample("is an NPZ archive of several arrays; save one array with numpy.save")
    stream = io.BytesIO(member)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        _check(shape, dtype)  # before np.load would make an array of that size
        stream.seek(0)
        return np.load(stream, allow_pickle=False)
    except BadSample:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise BadSample(f"cannot be decoded as NPY: {' '.join(str(error).split())[:200]}") from None


def _check(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "fiub":
        raise BadSample(f"must hold numbers, not {_WHAT.get(dtype.kind, 'text or records')} ({dtype})")
    if len(shape) not in (1, 2):
        shown = list(shape) if shape else "a single number"
        raise BadSample(f"must be one vector [F] or a sequence [T, F], not {shown}")
    if math.prod(shape) > MAX_NUMBERS:
        raise BadSample(f"{list(shape)} is more than {MAX_NUMBERS} numbers")
    if shape[-1] == 0:
        raise BadSample("has vectors of 0 numbers")


def _check_finite(values: np.ndarray) -> None:
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    bad = ~np.isfinite(values)
    row, column = (int(place[0]) for place in np.nonzero(bad))
    raise BadSample(
        f"holds {int(bad.sum())} values that are not finite, the first ({values[row, column]}) at "
        f"[{row}, {column}]; put numbers in their place, or leave the vectors out"
    )
