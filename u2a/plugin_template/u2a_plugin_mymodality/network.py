"""A small pre-norm transformer over the steps of a series.

Shape suffixes: N rows, T steps, L tokens (class token and steps), F features, D width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Self-attention with separate projections, so that LoRA can reach each of them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        q, k, v = (
            layer(hidden_NLD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        mask = None if valid_NL is None else valid_NL[:, None, None]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        hidden_NLD = hidden_NLD + self.attention(self.norm1(hidden_NLD), valid_NL)
        return hidden_NLD + self.mlp(self.norm2(hidden_NLD))


class SeriesTransformer(nn.Module):
    """A token a step, a class token before them, learned positions."""

    def __init__(self, features: int, longest: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, width)
        self.cls_D = nn.Parameter(torch.randn(width) * 0.02)
        self.positions_TD = nn.Parameter(torch.randn(longest, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def embed(self, values_NTF: Tensor, lengths_N: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``hidden_NLD`` and ``valid_NL``, True = a real token."""
        N, T = values_NTF.shape[:2]
        steps_NTD = self.project(values_NTF) + self.positions_TD[:T]
        cls_N1D = self.cls_D.to(steps_NTD.dtype).expand(N, 1, -1)
        valid_NL = torch.arange(T + 1, device=lengths_N.device) <= lengths_N[:, None]
        return torch.cat([cls_N1D, steps_NTD], 1), valid_NL

    def encode(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        """All blocks and the final norm."""
        for block in self.blocks:
            hidden_NLD = block(hidden_NLD, valid_NL)
        return self.norm(hidden_NLD)
