"""Random class tokens, mask tokens and presence, for tests of the method's functions; a model of the least."""

from dataclasses import dataclass

import torch

from u2a.method.head_start import FrozenTokens
from u2a.method.read_out import ReadTokens

B, D = 17, 5


def random_case(M: int, seed: int, per_target: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    cls = torch.randn(B, M, D, generator=g)
    mask = torch.randn(B, M, M, D, generator=g) if per_target else torch.randn(B, M, D, generator=g)
    present = torch.rand(B, M, generator=g) < 0.5
    present[torch.arange(B), torch.randint(M, (B,), generator=g)] = True
    return cls, mask, present


@dataclass
class Adding:
    """As much of a model as scoring needs: logits are the sum of what modalities a and b say by themselves."""

    names: tuple[str, ...] = ("a", "b")
    device: str = "cpu"

    def classify(
        self, cls_NMD: torch.Tensor, mask_NMMD: torch.Tensor, present_NM: torch.Tensor
    ) -> torch.Tensor:
        return (cls_NMD * present_NM[:, :, None]).sum(1)


def drawn_frozen(n: int, seed: int, widths: tuple[int, int], noise: float) -> FrozenTokens:
    """Tokens of two modalities that share five hidden numbers, three of which tell the class."""
    g, maps = (torch.Generator().manual_seed(one) for one in (seed, 7))
    hidden, tokens = torch.randn(n, 5, generator=g), []
    for H in widths:
        x = hidden @ torch.randn(5, 2 * H, generator=maps) + noise * torch.randn(n, 2 * H, generator=g)
        tokens.append(ReadTokens(x[:, :H], x[:, H:], torch.zeros(n, 1, H)))
    return FrozenTokens(tuple(tokens), torch.ones(n, 2, dtype=torch.bool), hidden[:, :3].argmax(1))
