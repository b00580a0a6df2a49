"""Small tensors on their way from a data worker: copied through the pipe, where shared memory costs more."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Bytes of a tensor that is copied; one in shared memory costs about a millisecond, however small.
LARGEST = 1 << 20
_AS_ARRAYS = (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float32)


class _Copied(NamedTuple):
    array: np.ndarray


def copied(value: Any) -> Any:
    """A value to pickle: small tensors, also in dictionaries, as arrays; the rest as torch pickles it."""
    if type(value) is dict:
        return {name: copied(one) for name, one in value.items()}
    plain = type(value) is Tensor and value.layout is torch.strided and value.device.type == "cpu"
    small = plain and value.nbytes <= LARGEST and value.dtype in _AS_ARRAYS
    return _Copied(value.detach().numpy()) if small else value


def tensors(value: Any) -> Any:
    """What `copied` was given."""
    if type(value) is dict:
        return {name: tensors(one) for name, one in value.items()}
    return torch.from_numpy(value.array) if isinstance(value, _Copied) else value
