"""The Keyword Transformer (Berg, O'Connor, Cruz: Keyword Transformer, Interspeech 2021), in plain torch.

Post-norm blocks: ``h = norm1(h + attention)``, ``h = norm2(h + fc2(gelu_tanh(fc1(h))))``. Modules and
parameters have the checkpoint's names. Shape suffixes: N samples, T frames, L tokens, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from u2a_plugin_keyword.config import Config


class Attention(nn.Module):
    """Self-attention with separate projections; query, key and value without bias."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        D = config.d_model
        self.heads = config.heads
        self.q, self.k, self.v = (nn.Linear(D, D, bias=False) for _ in range(3))
        self.o = nn.Linear(D, D)

    def forward(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        q, k, v = (
            layer(hidden_NLD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        mask = None if valid_NL is None else valid_NL[:, None, None]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and feed-forward, each added to its input and then normed."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.fc1, self.fc2 = nn.Linear(config.d_model, config.mlp), nn.Linear(config.mlp, config.d_model)
        self.norm1, self.norm2 = (nn.LayerNorm(config.d_model, eps=config.ln_eps) for _ in range(2))

    def forward(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        hidden_NLD = self.norm1(hidden_NLD + self.attn(hidden_NLD, valid_NL))
        mixed_NLD = self.fc2(functional.gelu(self.fc1(hidden_NLD), approximate="tanh"))
        return self.norm2(hidden_NLD + mixed_NLD)


class KeywordTransformer(nn.Module):
    """Frames of coefficients to hidden states, without the classifier."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.proj = nn.Linear(config.n_mfcc, config.d_model)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.d_model))
        self.pos_emb = nn.Parameter(torch.zeros(1, config.tokens, config.d_model))
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))

    def embed(self, coefficients_NTC: Tensor) -> Tensor:
        """Float [N, T, MFCC] to ``hidden_NLD``: class token first, positions added."""
        frames_NTD = self.proj(coefficients_NTC)
        cls_N1D = self.cls_token.to(frames_NTD.dtype).expand(frames_NTD.shape[0], -1, -1)
        return torch.cat([cls_N1D, frames_NTD], 1) + self.pos_emb

    def encode(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        """All blocks."""
        for block in self.layers:
            hidden_NLD = block(hidden_NLD, valid_NL)
        return hidden_NLD
