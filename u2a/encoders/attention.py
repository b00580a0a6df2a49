"""Blocks whose own computation has no place for mask tokens, or for adapters, with one that has.

What they compute for an encoder's own tokens stays the same. A mask token has no position here either: at
distance zero from all, and never a neighbour in a convolution.

Shape suffixes: N rows, H heads, L tokens, K mask tokens, D width, E width of a head.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from u2a.encoders.releases import bias_of_distances, bias_of_positions, heed_masks

_APPENDED = threading.local()


@contextmanager
def appended(K: int) -> Iterator[None]:
    """The blocks that run inside get K mask tokens behind the encoder's own."""
    outer, _APPENDED.count = getattr(_APPENDED, "count", 0), K
    try:
        yield
    finally:
        _APPENDED.count = outer


def replace_forward(backbone: nn.Module) -> None:
    """Give the modules of a backbone that need it (`_NEW`) a forward pass of ours."""
    for module in backbone.modules():
        heed_masks(module)
        for name, function in _NEW.get(type(module).__name__, {}).items():
            setattr(module, name, MethodType(function, module))  # bound, so that a copy has its own


def _count() -> int:
    return getattr(_APPENDED, "count", 0)


def _heads(hidden_NLD: Tensor, E: int) -> Tensor:
    return hidden_NLD.view(*hidden_NLD.shape[:-1], -1, E).transpose(1, 2)


def _attend(q_NHLE: Tensor, k_NHLE: Tensor, v_NHLE: Tensor, bias: Tensor | None, mask: Any, p: float) -> Tensor:
    """Scores plus bias, softmax over what the mask allows (True, or an added 0), in N, L, D."""
    if mask is not None and bias is not None:
        bias = bias.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else bias + mask
    attended = scaled_dot_product_attention(
        q_NHLE, k_NHLE, v_NHLE, attn_mask=mask if bias is None else bias, dropout_p=p
    )
    return attended.transpose(1, 2).flatten(2)


def _wavlm(
    self: Any, hidden_NLD: Tensor, mask: Tensor | None, bias: Tensor, *ignored: Any
) -> tuple[Tensor, None]:
    """WavLM's attention through its projections; transformers reads their weights past adapters."""
    N, L, _ = hidden_NLD.shape
    q, k, v = (_heads(layer(hidden_NLD), self.head_dim) for layer in (self.q_proj, self.k_proj, self.v_proj))
    bias_NHLL = bias.view(N, self.num_heads, L, L).to(q.dtype)
    attended = _attend(q, k, v, bias_NHLL, mask, self.dropout if self.training else 0.0)
    return self.out_proj(attended), None


def _conformer_attention(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    relative_position_embeddings: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """wav2vec2-bert's attention; its positions, of each of its three kinds, are of its own tokens alone."""
    K = _count()
    L, kind = hidden_states.shape[1] - K, self.position_embeddings_type
    placed = hidden_states
    if kind == "rotary":
        turned = self._apply_rotary_embedding(hidden_states[:, :L], relative_position_embeddings)
        placed = torch.cat([turned, hidden_states[:, L:]], 1)
    layers = ((self.linear_q, placed), (self.linear_k, placed), (self.linear_v, hidden_states))
    q, k, v = (_heads(layer(x), self.head_size) for layer, x in layers)
    bias = None
    if kind == "relative_key":
        bias = bias_of_distances(self, q[:, :, :L])
    elif kind == "relative":
        bias = bias_of_positions(self, q[:, :, :L], k[:, :, :L], relative_position_embeddings)
        q = q + self.pos_bias_u[None, :, None, :]
    bias = None if bias is None else pad(bias, (0, K, 0, K))
    attended = _attend(q, k, v, bias, attention_mask, self.dropout.p if self.training else 0.0)
    return self.linear_out(attended), None


def _conformer_convolution(self: Any, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    """wav2vec2-bert's convolution over its own tokens; each mask token is convolved with nothing beside it."""
    own, K = type(self).forward, _count()
    if not K:
        return own(self, hidden_states, attention_mask)
    L = hidden_states.shape[1] - K
    alone = hidden_states[:, L:].reshape(-1, 1, hidden_states.shape[2])
    convolved = own(self, hidden_states[:, :L], attention_mask)
    return torch.cat([convolved, own(self, alone).view(hidden_states.shape[0], K, -1)], 1)


def _unturned(self: Any, qk_NHLE: Tensor, pos_ids: tuple[Tensor, ...]) -> Tensor:
    """V-JEPA 2 counts positions from the number of tokens; mask tokens have none and are not turned."""
    own, K = type(self).apply_rotary_embeddings, _count()
    if not K:
        return own(self, qk_NHLE, pos_ids)
    L = qk_NHLE.shape[2] - K
    turned = own(self, qk_NHLE[:, :, :L], tuple(ids[..., :L] for ids in pos_ids))
    return torch.cat([turned, qk_NHLE[:, :, L:]], 2)


_NEW: dict[str, dict[str, Any]] = {
    "WavLMAttention": {"torch_multi_head_self_attention": _wavlm},
    "Wav2Vec2BertSelfAttention": {"forward": _conformer_attention},
    "Wav2Vec2BertConvolutionModule": {"forward": _conformer_convolution},
    "VJEPA2RopeAttention": {"apply_rotary_embeddings": _unturned},
}
