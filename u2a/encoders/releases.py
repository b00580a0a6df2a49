"""What transformers computes in another way from release to release: 5.12 to 5.15 beside the later ones."""

from __future__ import annotations

import sys
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn


def heed_masks(module: nn.Module) -> None:
    """Have a T5 attention of transformers before 5.15 heed its mask, which it expects within its bias."""
    if type(module).__name__ == "T5Attention" and not hasattr(module, "scaling"):
        module.forward = MethodType(_t5, module)


def bias_of_distances(attention: Any, q_NHLE: Tensor) -> Tensor:
    """wav2vec2-bert's queries with a learned vector per distance, [N, H, L, L]."""
    place_L = torch.arange(q_NHLE.shape[2], device=q_NHLE.device)
    left, right = attention.left_max_position_embeddings, attention.right_max_position_embeddings
    vectors_LLE = attention.distance_embedding((place_L - place_L[:, None]).clamp(-left, right) + left)
    return torch.einsum("nhqe,qke->nhqk", q_NHLE, vectors_LLE.to(q_NHLE.dtype)) / attention.head_size**0.5


def bias_of_positions(attention: Any, q_NHLE: Tensor, k_NHLE: Tensor, placed: Tensor | None) -> Tensor:
    """wav2vec2-bert's queries with the vector of a sine per distance, as transformers has it, [N, H, L, L]."""
    before_5_16 = getattr(attention, "_apply_relative_embeddings", None)  # adds the scores of the keys
    if before_5_16 is not None:
        found: Tensor = before_5_16(q_NHLE, torch.zeros_like(k_NHLE), placed)
        return found
    functions: Any = sys.modules[type(attention).__module__]
    later: Tensor = functions._apply_relative_position_encoding(attention, q_NHLE, k_NHLE, placed)[1]
    return later


def _t5(self: Any, hidden_states: Tensor, mask: Any = None, position_bias: Any = None, **more: Any) -> Any:
    if mask is not None and position_bias is not None:
        position_bias = position_bias + mask
    return type(self).forward(self, hidden_states, mask=mask, position_bias=position_bias, **more)
