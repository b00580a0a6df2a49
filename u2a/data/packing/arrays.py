"""Vectors that stand in a manifest itself: lists of numbers, for modalities that read ``npy`` files."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np

from u2a.common.values import short


def is_array(value: Any) -> bool:
    """Whether a cell holds numbers rather than a file's name: a list, or the text of one."""
    return isinstance(value, list | tuple) or (isinstance(value, str) and re.match(r"\s*\[", value) is not None)


def npy_bytes(column: str, value: Any) -> bytes:
    """A list of numbers, or of lists of as many numbers each, as the bytes of an NPY file of 64-bit floats.

    Raises:
        ValueError: it is empty, ragged, holds anything but numbers, or is a text that is no JSON list.
    """
    where = f"column {column!r}"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            hint = "; numpy prints long arrays with ... for most numbers" if "..." in value else ""
            raise ValueError(f"{where}: {short(value)} is no JSON list of numbers{hint}") from None
    rows = value if value and all(isinstance(row, list | tuple) for row in value) else [value]
    if not isinstance(value, list | tuple) or not all(rows):
        raise ValueError(f"{where}: holds no numbers; null means missing")
    if len({len(row) for row in rows}) > 1:
        lengths = f"{min(map(len, rows))} to {max(map(len, rows))}"
        raise ValueError(f"{where}: its vectors have {lengths} numbers; each needs as many")
    for row in rows:
        for place, number in enumerate(row):
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f"{where}: place {place} holds {short(number)}, which is no number")
    try:
        array = np.asarray(value, dtype=np.float64)
    except OverflowError:
        raise ValueError(f"{where}: holds a number that is too large") from None
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
