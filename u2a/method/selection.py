"""Token selection (paper eq. 4) and modality dropout (paper section 3, last paragraph), for M modalities.

Shape suffixes: B batch, M modalities in recipe order, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from u2a.common.seeds import rng


def per_target(mask_BMD: Tensor) -> Tensor:
    """Mask tokens as ``mask_BMMD``, where ``[:, i, j]`` is modality i's token for target j.

    Args:
        mask_BMD: ``[B, M, D]`` (one token of each modality serves every target) or already ``[B, M, M, D]``.
    """
    if mask_BMD.dim() == 4:
        return mask_BMD
    M = mask_BMD.shape[1]
    return mask_BMD.unsqueeze(2).expand(-1, -1, M, -1)


def select_tokens(cls_BMD: Tensor, mask_BMD: Tensor, present_BM: Tensor) -> Tensor:
    """Paper eq. 4: the class token of a present modality, else the mean of the present ones' mask tokens.

    Args:
        cls_BMD: class tokens, float.
        mask_BMD: mask tokens, ``[B, M, D]``, or ``[B, M, M, D]`` with ``[:, i, j]`` i's token for target j.
        present_BM: bool, True = available. Nothing that stands in absent places, NaN included, has any effect.

    Returns:
        selected_BMD, the dtype of ``cls_BMD``. A sample with no modality at all selects zeros.
    """
    absent_BM11 = ~present_BM[:, :, None, None]
    available_BMMD = per_target(mask_BMD).masked_fill(absent_BM11, 0)
    n_present_B11 = present_BM.sum(1).clamp(min=1)[:, None, None]
    filled_BMD = available_BMMD.sum(1) / n_present_B11
    return torch.where(present_BM[:, :, None], cls_BMD, filled_BMD)


def draw_kept(n_modalities: int, seed: int, step: int) -> tuple[bool, ...]:
    """Modality dropout's one draw per optimizer step, the same on every process.

    Keeps all modalities with probability 1/3, else a uniform proper non-empty subset.
    """
    draw = rng("modality dropout", seed, step)
    everything = 2**n_modalities - 1
    if n_modalities == 1 or draw.random() < 1 / 3:
        kept = everything
    else:
        kept = draw.randrange(1, everything)
    return tuple(bool(kept >> m & 1) for m in range(n_modalities))


def drop_modalities(present_BM: Tensor, kept_M: Tensor) -> Tensor:
    """Presence after dropout; a sample that would lose everything keeps its own presence.

    Args:
        present_BM: bool, presence in the data.
        kept_M: bool, the modalities that this step keeps (see `draw_kept`).
    """
    dropped_BM = present_BM & kept_M
    emptied_B1 = ~dropped_BM.any(1, keepdim=True)
    return torch.where(emptied_B1, present_BM, dropped_BM)


def subsets(n_modalities: int) -> list[tuple[bool, ...]]:
    """All non-empty subsets of M modalities, the complete one first, then by falling size, in recipe order."""
    patterns = [tuple(bool(s >> m & 1) for m in range(n_modalities)) for s in range(1, 2**n_modalities)]
    return sorted(patterns, key=lambda p: (-sum(p), [not kept for kept in p]))
