"""Whether two results of a plugin are the same, or far apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def same(first: Any, second: Any) -> bool:
    """Equal examples or inputs: the same names, tensors and arrays equal to the last bit, NaN equal to NaN."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return type(first) is type(second) and len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return (first.dtype, first.shape) == (second.dtype, second.shape) and torch.allclose(
            first, second, atol=0, rtol=0, equal_nan=first.is_floating_point()
        )
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind in "fc")
    if type(first) is not type(second):
        return False  # an array and a number would be compared entry by entry
    return bool(first == second or (first != first and second != second))


def far(first: torch.Tensor, second: torch.Tensor, tolerance: float = 1e-3) -> float | None:
    """The largest distance of two tensors if it exceeds the tolerance (NaN always does), else None."""
    distance = (first.float() - second.float()).abs().max().item()
    return None if distance <= tolerance else distance
