"""One sample's inputs of one modality as a batch of its own: what they become depends on no other sample."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from u2a.contract.modality import Inputs, Preprocessor

#: Training draws differ where augmentation does anything; of so many, not all are the same.
DRAWS = 8


@dataclass(frozen=True)
class Alone:
    """Inputs of one sample, packed for the way from a data worker.

    Attributes:
        tensors: as safetensors has them.
        values: what is no tensor.
        digest: SHA-256 of both, in hex.
    """

    tensors: bytes
    values: Mapping[str, Any]
    digest: str

    @classmethod
    def of(cls, inputs: Inputs) -> Alone:
        """Pack inputs.

        Raises:
            TypeError: they hold what is neither a tensor nor a plain value for JSON.
        """
        tensors = {name: x.detach().cpu().contiguous() for name, x in inputs.items() if isinstance(x, Tensor)}
        packed = save({name: x.clone() for name, x in tensors.items()})
        values = {name: x for name, x in inputs.items() if not isinstance(x, Tensor)}
        text = json.dumps(values, sort_keys=True)
        return cls(packed, values, hashlib.sha256(packed + text.encode()).hexdigest())

    def inputs(self, device: torch.device) -> Inputs:
        """Unpack them."""
        return {**{name: x.to(device) for name, x in load(self.tensors).items()}, **self.values}


def is_steady(preprocessor: Preprocessor, member: bytes) -> bool:
    """Whether a member is the same in training whatever is drawn, and can be packed."""

    def made(seed: int) -> str:
        return Alone.of(preprocessor.collate([preprocessor(member, train=True, seed=seed)])).digest

    try:
        first = made(0)
        return all(made(seed) == first for seed in range(1, DRAWS))
    except TypeError:
        return False
