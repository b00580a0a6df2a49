"""A small pre-norm transformer over vectors, with the vectors themselves beside what it makes of them.

Shape suffixes: N rows, T vectors, L tokens (class token and vectors), F numbers, D width of the transformer,
C numbers carried past it, X measures of a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import u2a

#: What is further from the mean, in deviations, is as good as infinite.
MOST_DEVIATIONS = 1e6
#: Numbers of a vector that are carried past the transformer; of longer ones, sums of several.
MOST_CARRIED = 2048
#: So many times the transformer's width is carried, of short vectors several copies: what reads tokens gives
#: all their numbers one weight, and what an untrained transformer makes of a vector is mostly noise.
COPIED_TO = 2


class Standard(nn.Module):
    """``(x - mean) / deviation`` of the training samples' vectors; a place that never changes is 0."""

    mean_F: Tensor
    scale_F: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean_F", torch.zeros(size))
        self.register_buffer("scale_F", torch.ones(size))

    def forward(self, values: Tensor) -> Tensor:
        return ((values - self.mean_F) * self.scale_F).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)

    def fit(self, measured_NX: Tensor) -> None:
        """Put the statistics of all vectors in place, from each sample's."""
        F = len(self.mean_F)
        T_N1, mean_NF, variance_NF = measured_NX.cpu().double().split([1, F, F], 1)
        share_N1 = T_N1 / T_N1.sum()
        mean_F = (share_N1 * mean_NF).sum(0)
        deviation_F = (share_N1 * (variance_NF + (mean_NF - mean_F).square())).sum(0).sqrt()
        varies_F = deviation_F > (1e-7 * mean_F.abs()).clamp(min=1e-30)  # beyond what 32 bits round off
        self.mean_F.copy_(mean_F)
        self.scale_F.copy_(torch.where(varies_F, 1 / deviation_F, 0))


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
    """A token a vector, a class token before them, learned positions.

    Behind its D numbers a token carries its standardised vector as it is, the class token their mean: an
    untrained transformer of width D keeps little of a long vector, and what reads the tokens shall see no
    less than logistic regression does.

    Args:
        standardise: by the training samples' statistics; False: vectors come standardised.
    """

    def __init__(
        self,
        size: int,
        longest: int,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        *,
        standardise: bool,
    ) -> None:
        super().__init__()
        self.copies = max(1, round(COPIED_TO * width / size))
        self.carried = self.copies * min(size, MOST_CARRIED)
        self.width = width + self.carried
        self.n_measures = 1 + 2 * size if standardise else 0
        self.standard = Standard(size)
        sign_F = torch.randint(2, (size,), generator=torch.Generator().manual_seed(0), device="cpu") * 2.0 - 1
        self.register_buffer("sign_F", sign_F, persistent=False)
        self.project = nn.Linear(size, width)
        self.cls_D = nn.Parameter(torch.randn(width) * 0.02)
        self.positions_TD = nn.Parameter(torch.randn(longest, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def embed(self, values: Tensor, attention_mask: Tensor | None = None) -> u2a.Tokens:
        """``values`` [N, T, F] and ``attention_mask`` [N, T] to tokens."""
        values = self.standard(values)
        tokens_NTD = self.project(values) + self.positions_TD[: values.shape[1]]
        cls_N1D = self.cls_D.to(tokens_NTD.dtype).expand(values.shape[0], 1, -1)
        vectors_NTC = self.carry(values)
        mean_N1C = _mean(vectors_NTC, attention_mask)[:, None]
        hidden_NLD = torch.cat([cls_N1D, tokens_NTD], 1)
        hidden_NLD = torch.cat([hidden_NLD, torch.cat([mean_N1C, vectors_NTC], 1)], 2)
        if attention_mask is None:
            return u2a.Tokens(hidden_NLD)
        return u2a.Tokens(hidden_NLD, functional.pad(attention_mask.bool(), (1, 0), value=True))

    def carry(self, values: Tensor) -> Tensor:
        """What goes past the transformer, ``[N, T, C]``: vectors, or sums of places with random signs."""
        if values.shape[2] > MOST_CARRIED:
            signed = functional.pad(values * self.sign_F, (0, -values.shape[2] % MOST_CARRIED))
            values = signed.unflatten(2, (-1, MOST_CARRIED)).sum(2)
        return values.repeat(1, 1, self.copies)

    def encode(self, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
        """All blocks and the final norm; what is carried stays as it is."""
        hidden_NLD, carried_NLC = hidden_NLD.split([self.width - self.carried, self.carried], 2)
        for block in self.blocks:
            hidden_NLD = block(hidden_NLD, valid_NL)
        return torch.cat([self.norm(hidden_NLD), carried_NLC], 2)

    def measure(self, values: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Each sample's number of vectors, their mean and their variance, ``[N, X]``."""
        values = values.cpu().double()  # there may be no doubles where the network is
        mask_NT = torch.ones(values.shape[:2]) if attention_mask is None else attention_mask.cpu()
        mean_NF = _mean(values, mask_NT)
        variance_NF = _mean((values - mean_NF[:, None]).square(), mask_NT)
        return torch.cat([mask_NT.double().sum(1, keepdim=True), mean_NF, variance_NF], 1)

    def fit(self, measured_NX: Tensor) -> None:
        """Standardise by what `measure` found of training samples."""
        self.standard.fit(measured_NX)


def _mean(x_NTF: Tensor, mask_NT: Tensor | None) -> Tensor:
    """The mean of each row's vectors, padding left out, ``[N, F]``."""
    if mask_NT is None:
        return x_NTF.mean(1)
    weight_NT1 = mask_NT.to(x_NTF.dtype)[..., None]
    return (x_NTF * weight_NT1).sum(1) / weight_NT1.sum(1)
