"""Random class tokens, mask tokens and presence, for tests of the method's functions; a model of the least."""

from dataclasses import dataclass

import torch

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
