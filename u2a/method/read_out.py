"""Read-outs on one scale, proxies that follow the sample, and weights of their own for every modality.

What `fusion = "per_modality"` puts behind the encoders, in place of the paper's plain sum: class token and mean
token are standardised by the training samples' statistics, so that no encoder's scale drowns another's; a
missing modality's read-out is predicted from each present one's tokens by a map of low rank; the head has
weights for each modality (a linear layer on the concatenation, of which the paper's sum is the special case
of equal weights). Statistics, maps and weights are fitted by the head start (`u2a.method.head_start`) and
trained on from there.

Shape suffixes: B batch, P present samples of one modality, M modalities in recipe order, K mask tokens of one
modality, H width of one modality's encoder, F = 2 H its class and mean token side by side, D = the largest F,
S = 3 H what a proxy is made from (mask, class and mean token), R rank, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ReadTokens(NamedTuple):
    """What a branch reads after the final norm: class token, mean of the valid tokens, mask tokens."""

    cls_PH: Tensor
    mean_PH: Tensor
    mask_PKH: Tensor


class Scale(nn.Module):
    """``(x - mean) * scale`` with fixed statistics: a scale of 0 leaves a dimension out."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise the last dimensions of ``[..., *shape]``."""
        return (x - cast(Tensor, self.mean)) * cast(Tensor, self.scale)

    def set(self, mean: Tensor, scale: Tensor) -> None:
        """Put statistics in place."""
        cast(Tensor, self.mean).copy_(mean)
        cast(Tensor, self.scale).copy_(scale)


class Proxy(nn.Module):
    """One modality's tokens to an estimate of another's read-out, through a code of R numbers."""

    def __init__(self, source: int, target: int, rank: int) -> None:
        super().__init__()
        self.encode = nn.Linear(source, rank, bias=False)
        self.decode = nn.Linear(rank, target, bias=False)
        nn.init.zeros_(self.decode.weight)  # until a head start: the target's mean

    def forward(self, source_PS: Tensor) -> Tensor:
        """``[P, S]`` standardised to ``[P, F]`` of the target's standardised read-out."""
        return self.decode(self.encode(source_PS))


class ReadOuts(nn.Module):
    """Every modality's standardised read-out, and its proxies for the others.

    Args:
        names: the modalities, in recipe order.
        widths: H of each one's encoder.
        n_mask_tokens: K.
        rank: R of the proxies; 0 = no proxies: a missing modality counts as its mean.
    """

    def __init__(self, names: Sequence[str], widths: Sequence[int], n_mask_tokens: int, rank: int) -> None:
        super().__init__()
        self.names, self.widths, self.rank = tuple(names), tuple(widths), rank
        self.width = 2 * max(widths)
        self.scales = nn.ModuleDict({n: Scale(2 * h) for n, h in zip(names, widths, strict=True)})
        #: Where 0, a missing modality counts as its mean although proxies are trained.
        self.register_buffer("gate", torch.ones(()))
        self.sources = nn.ModuleDict()
        self.proxies = nn.ModuleDict()
        if rank and len(names) > 1:
            self.sources.update({n: Scale(n_mask_tokens, 3 * h) for n, h in zip(names, widths, strict=True)})
            self.proxies.update(
                {
                    f"{source}_to_{target}": Proxy(3 * widths[i], 2 * widths[j], rank)
                    for i, source in enumerate(names)
                    for j, target in enumerate(names)
                    if i != j
                }
            )

    def read(self, m: int, tokens: ReadTokens) -> Tensor:
        """Modality m's ``read_PD``: mean square 1 over the training samples, zeros beyond its own width."""
        own_PF = self.own(m, tokens)
        return F.pad(own_PF, (0, self.width - own_PF.shape[1]))

    def own(self, m: int, tokens: ReadTokens) -> Tensor:
        """Modality m's standardised read-out at its own width, ``[P, F]``, every sample's of the same length.

        Without one length for all, LoRA would escape the head's decay by making tokens longer.
        """
        return _of_length(self.scales[self.names[m]](both(tokens)), self.width**0.5)

    def stand_ins(self, m: int, tokens: ReadTokens, token_for_target: Sequence[int]) -> Tensor:
        """Modality m's estimates of every other's read-out, ``[P, M, D]``; zeros for itself."""
        P, M = tokens.cls_PH.shape[0], len(self.names)
        if not self.proxies:
            return tokens.cls_PH.new_zeros(P, M, self.width)
        source_PKS = self.source(m, tokens)
        rows = []
        for j, target in enumerate(self.names):
            if j == m:
                rows.append(source_PKS.new_zeros(P, self.width))
                continue
            estimate_PF = self.proxies[f"{self.names[m]}_to_{target}"](source_PKS[:, token_for_target[j]])
            rows.append(F.pad(estimate_PF, (0, self.width - estimate_PF.shape[1])))
        return torch.stack(rows, 1)

    def source(self, m: int, tokens: ReadTokens) -> Tensor:
        """What modality m's proxies are made from, standardised, of one length: ``[P, K, S]``."""
        standardised_PKS = self.sources[self.names[m]](beside_mask(tokens))
        return _of_length(standardised_PKS, standardised_PKS.shape[2] ** 0.5)


def _of_length(x: Tensor, length: float) -> Tensor:
    return x * (length / x.norm(dim=-1, keepdim=True).clamp(min=1e-6))


def both(tokens: ReadTokens) -> Tensor:
    """Class and mean token side by side, ``[P, F]``."""
    return torch.cat([tokens.cls_PH, tokens.mean_PH], 1)


def beside_mask(tokens: ReadTokens) -> Tensor:
    """Each mask token with class and mean token beside it, ``[P, K, S]``."""
    K = tokens.mask_PKH.shape[1]
    return torch.cat([tokens.mask_PKH, both(tokens).unsqueeze(1).expand(-1, K, -1)], 2)


class ModalityHead(nn.Module):
    """``logits = bias + sum_m W_m read_m / sqrt(D)``: weights of their own for each modality.

    Args:
        names, widths: as for `ReadOuts`.
        n_classes: C.
    """

    def __init__(self, names: Sequence[str], widths: Sequence[int], n_classes: int) -> None:
        super().__init__()
        self.names = tuple(names)
        self.bias = nn.Parameter(torch.zeros(n_classes))
        self.weights = nn.ParameterDict(
            {n: nn.Parameter(torch.zeros(n_classes, 2 * h)) for n, h in zip(names, widths, strict=True)}
        )
        #: How much the squared length of each W counts in the loss; the head start chooses it.
        self.register_buffer("decay_M", torch.zeros(len(names)))

    def each_weight(self) -> Iterator[nn.Parameter]:
        """W of every modality, in recipe order (`nn.ParameterDict` sorts its keys)."""
        return (cast(nn.Parameter, self.weights[name]) for name in self.names)

    def forward(self, selected_BMD: Tensor) -> Tensor:
        """Selected read-outs to ``logits_BC``."""
        D = selected_BMD.shape[2]
        terms = [selected_BMD[:, m, : w.shape[1]] @ w.T for m, w in enumerate(self.each_weight())]
        return self.bias + torch.stack(terms).sum(0) / D**0.5

    def beside(self, selected_BMD: Tensor) -> Tensor:
        """What `forward` is linear in, ``[B, sum of F]``: the read-outs side by side, each at its own width."""
        parts = [selected_BMD[:, m, : w.shape[1]] for m, w in enumerate(self.each_weight())]
        return torch.cat(parts, 1) / selected_BMD.shape[2] ** 0.5

    def penalty(self) -> Tensor:
        """``sum_m decay_m ||W_m||^2``, a scalar."""
        squares_M = torch.stack([weight.square().sum() for weight in self.each_weight()])
        return (cast(Tensor, self.decay_M) * squares_M).sum()
