"""A small pre-norm transformer over vectors.

Shape suffixes: N rows, T vectors, L tokens (class token and vectors), F numbers, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import u2a


class Block(nn.Module):
    """Attention and feed-forward, each after a norm, with dropout, added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        hidden_NLD = hidden_NLD + self.dropout(self.attend(self.norm1(hidden_NLD), valid_NL))
        return hidden_NLD + self.dropout(self.mlp(self.norm2(hidden_NLD)))

    def attend(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        """Self-attention, [N, L, D]; padding is seen by nobody."""
        q, k, v = (
            layer(hidden_NLD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        mask = None if valid_NL is None else valid_NL[:, None, None]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o(mixed.transpose(1, 2).flatten(2))


class FeatureTransformer(nn.Module):
    """A token a vector, a class token before them, learned positions."""

    def __init__(self, size: int, longest: int, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(size, width)
        self.cls_D = nn.Parameter(torch.randn(width) * 0.02)
        self.positions_TD = nn.Parameter(torch.randn(longest, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def embed(self, values: Tensor, attention_mask: Tensor | None = None) -> u2a.Tokens:
        """``values`` [N, T, F] and ``attention_mask`` [N, T] to tokens."""
        tokens_NTD = self.project(values) + self.positions_TD[: values.shape[1]]
        cls_N1D = self.cls_D.to(tokens_NTD.dtype).expand(values.shape[0], 1, -1)
        hidden_NLD = torch.cat([cls_N1D, tokens_NTD], 1)
        if attention_mask is None:
            return u2a.Tokens(hidden_NLD)
        return u2a.Tokens(hidden_NLD, functional.pad(attention_mask.bool(), (1, 0), value=True))

    def encode(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        """All blocks and the final norm."""
        for block in self.blocks:
            hidden_NLD = block(hidden_NLD, valid_NL)
        return self.norm(hidden_NLD)
