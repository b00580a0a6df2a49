"""The losses: task loss, alignment loss (paper eq. 6) and their sum (eq. 7), over the global batch.

A process holds a part of the optimizer step's global batch (its micro-batches). Every mean here is a local
sum divided by a global count, so summing over micro-batches and processes gives the mean over the whole.
Shape suffixes: B batch, M modalities in recipe order, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from u2a.method.selection import per_target, subsets


@dataclass(frozen=True)
class Counts:
    """What the means divide by: samples, and complete samples for each pair of modalities."""

    samples: int
    pairs_MM: Tensor

    @staticmethod
    def of(present_BM: Tensor) -> Counts:
        """The counts of a whole (global) batch from its presence after dropout, a bool tensor."""
        present = present_BM.float()
        return Counts(len(present), present.T @ present)


def alignment_loss(
    cls_BMD: Tensor,
    mask_BMD: Tensor,
    present_BM: Tensor,
    *,
    pairs_MM: Tensor | None = None,
    detach_target: bool = False,
) -> Tensor:
    """Paper eq. 6 for M modalities: MSE(mask_i, cls_j) over all ordered pairs i != j, times 2 / (M(M-1)).

    Each pair is averaged over the samples where both are present; 0 for M = 1 or where no pair is complete.

    Args:
        cls_BMD: class tokens, float.
        mask_BMD: mask tokens, ``[B, M, D]``, or ``[B, M, M, D]`` with ``[:, i, j]`` i's token for target j.
        present_BM: bool, True = available. What stands in absent places has no effect.
        pairs_MM: complete samples for each pair in the global batch; counted from ``present_BM`` if None.
        detach_target: stop the gradient at the class tokens (the paper lets it flow through both).

    Returns:
        A scalar, computed in float32 or wider.
    """
    M = cls_BMD.shape[1]
    if M == 1:
        return cls_BMD.new_zeros((), dtype=torch.promote_types(cls_BMD.dtype, torch.float32))
    both_BMM = present_BM[:, :, None] & present_BM[:, None, :]
    both_BMM = both_BMM & ~torch.eye(M, dtype=torch.bool, device=present_BM.device)
    target_BMD = cls_BMD.detach() if detach_target else cls_BMD
    difference_BMMD = _masked(per_target(mask_BMD), both_BMM) - _masked(target_BMD.unsqueeze(1), both_BMM)
    mse_MM = difference_BMMD.square().mean(-1).sum(0)
    counts_MM = both_BMM.sum(0) if pairs_MM is None else pairs_MM.to(mse_MM.device)
    return 2 / (M * (M - 1)) * (mse_MM / counts_MM.clamp(min=1)).sum()


def _masked(x_BMMD: Tensor, keep_BMM: Tensor) -> Tensor:
    wide = x_BMMD.to(torch.promote_types(x_BMMD.dtype, torch.float32))
    return wide.masked_fill(~keep_BMM.unsqueeze(-1), 0)


def balanced_weights(count_C: Tensor, n: int, *, multi_label: bool) -> Tensor:
    """What each class counts in the task loss, so that rare and frequent ones count alike.

    Args:
        count_C: how many of the n training samples have each class, any real type.

    Returns:
        ``[C]`` float64: ``n / (C n_c)`` over the C classes that occur (as scikit-learn's "balanced"), 0 for one
        that does not; multi-label ``[2, C]``: ``n / (2 n_c)`` for having the label, in the second row, and
        likewise for lacking it; 1 where all samples agree. Their mean over the n samples is 1.
    """
    count_C = count_C.double()
    if not multi_label:
        occurs_C = count_C > 0
        weight_C = n / (occurs_C.sum() * count_C.clamp(min=1))
        return torch.where(occurs_C, weight_C, 0)
    both_2C = torch.stack([n - count_C, count_C])
    return torch.where((both_2C > 0).all(0), n / (2 * both_2C.clamp(min=1)), 1)


def task_losses(logits_BC: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Each sample's task loss: cross entropy, or binary cross entropy averaged over the classes.

    Args:
        logits_BC: float.
        target: ``[B]`` long (class indices), or ``[B, C]`` float (one 0 or 1 a class).
        weights: of the classes (see `balanced_weights`); all alike if None.

    Returns:
        loss_B, float32 or wider.
    """
    logits = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
    if weights is not None:
        weights = weights.to(logits.dtype).to(logits.device)
    if target.dim() == 1:
        loss_B = F.cross_entropy(logits, target, reduction="none")
        return loss_B if weights is None else loss_B * weights[target]
    loss_BC = F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    if weights is not None:
        loss_BC = loss_BC * torch.where(target > 0, weights[1], weights[0])
    return loss_BC.mean(1)


def exhaustive_task_losses(
    classify: Callable[[Tensor], Tensor],
    present_BM: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Each sample's task loss averaged over all non-empty subsets of its own presence.

    Args:
        classify: presence after dropping (bool ``[B, M]``) to ``logits_BC``, from one encoding.
        present_BM: bool, presence in the data.
        target, weights: as in `task_losses`.
    """
    total_B = torch.zeros(len(present_BM), device=present_BM.device)
    for kept in subsets(present_BM.shape[1]):
        kept_M = torch.tensor(kept, device=present_BM.device)
        has_all_B = (present_BM | ~kept_M).all(1)
        losses_B = task_losses(classify(present_BM & kept_M), target, weights)
        total_B = total_B + torch.where(has_all_B, losses_B, 0)
    return total_B / (2 ** present_BM.sum(1) - 1)


def compute_losses(
    loss_B: Tensor, alignment: Tensor, counts: Counts, alignment_weight: float
) -> dict[str, Tensor]:
    """Paper eq. 7, as the one dictionary that trainers read: ``task_loss``, ``alignment_loss``, ``loss``."""
    task = loss_B.sum() / counts.samples
    return {"task_loss": task, "alignment_loss": alignment, "loss": task + alignment_weight * alignment}
