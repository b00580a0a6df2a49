"""A transformer over the cells of a row, after FT-Transformer (Gorishniy et al., NeurIPS 2021).

Every column is a token: a number times its column's vector plus its bias, or the vector of a category. Missing
cells and unknown categories have learned vectors of their own. Tokens have no order: there are no positions.
Shape suffixes: N rows, F columns with numbers, G with categories, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from u2a_plugin_tabular.preprocess import KNOWN


class Attention(nn.Module):
    """Self-attention with separate projections."""

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
    """Attention and feed-forward, each after a norm, with dropout, added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        hidden_NLD = hidden_NLD + self.dropout(self.attention(self.norm1(hidden_NLD), valid_NL))
        return hidden_NLD + self.dropout(self.mlp(self.norm2(hidden_NLD)))


class TabularTransformer(nn.Module):
    """The feature tokenizer and the blocks.

    Args:
        n_numbers: F.
        sizes: for each of the G columns with categories, how many there are.
    """

    first_G: Tensor

    def __init__(
        self, n_numbers: int, sizes: Sequence[int], width: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        counts = [size + KNOWN for size in sizes]
        self.cls_D = nn.Parameter(torch.randn(width) * 0.02)
        self.slope_FD = nn.Parameter(torch.randn(n_numbers, width) * width**-0.5)
        self.bias_FD = nn.Parameter(torch.randn(n_numbers, width) * width**-0.5)
        self.missing_FD = nn.Parameter(torch.randn(n_numbers, width) * width**-0.5)
        self.categories = nn.Embedding(max(1, sum(counts)), width)
        nn.init.normal_(self.categories.weight, std=width**-0.5)
        first = torch.tensor([sum(counts[:g]) for g in range(len(counts))], dtype=torch.long)
        self.register_buffer("first_G", first, persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def embed(self, numbers_NF: Tensor, categories_NG: Tensor) -> Tensor:
        """``hidden_NLD``: class token, numbers, categories. NaN is a missing number."""
        known_NF1 = ~numbers_NF.isnan()[..., None]
        values_NF1 = numbers_NF.nan_to_num(0.0)[..., None]
        numbers_NFD = (values_NF1 * self.slope_FD + self.bias_FD).where(known_NF1, self.missing_FD)
        categories_NGD = self.categories(categories_NG + self.first_G)
        cls_N1D = self.cls_D.expand(numbers_NF.shape[0], 1, -1)
        return torch.cat([cls_N1D, numbers_NFD, categories_NGD], 1)

    def encode(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        """All blocks and the final norm."""
        for block in self.blocks:
            hidden_NLD = block(hidden_NLD, valid_NL)
        return self.norm(hidden_NLD)
