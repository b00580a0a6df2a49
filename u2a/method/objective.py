"""What a training step minimises: the model with its losses (paper eqs. 6 and 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from u2a.contract.modality import Inputs
from u2a.method.losses import Counts, alignment_loss, compute_losses, exhaustive_task_losses, task_losses
from u2a.method.model import U2A
from u2a.method.read_out import ModalityHead


class Objective(nn.Module):
    """The model with its losses: what DDP wraps, so that every output of its forward pass gets a gradient."""

    def __init__(
        self,
        model: U2A,
        *,
        alignment_weight: float,
        detach_target: bool,
        exhaustive: bool,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.class_weights = class_weights
        self.alignment_weight = alignment_weight
        self.detach_target = detach_target
        self.exhaustive = exhaustive

    def forward(
        self, inputs: Mapping[str, Inputs], present_BM: Tensor, target: Tensor, counts: Counts
    ) -> dict[str, Tensor]:
        """The part of the global batch's losses that these samples contribute (eqs. 6 and 7)."""
        logits_BC, cls_BMD, mask_BMMD = self.model(inputs, present_BM)

        def classify(kept_BM: Tensor) -> Tensor:
            return self.model.classify(cls_BMD, mask_BMMD, kept_BM)

        if self.exhaustive:
            loss_B = exhaustive_task_losses(classify, present_BM, target, self.class_weights)
        else:
            loss_B = task_losses(logits_BC, target, self.class_weights)
        alignment = alignment_loss(
            cls_BMD, mask_BMMD, present_BM, pairs_MM=counts.pairs_MM, detach_target=self.detach_target
        )
        losses = compute_losses(loss_B, alignment, counts, self.alignment_weight)
        if self.model.read_outs is not None:  # this part's share of the global batch's penalty
            head = cast(ModalityHead, self.model.head)
            losses["loss"] = losses["loss"] + head.penalty() * (len(present_BM) / counts.samples)
        return losses
