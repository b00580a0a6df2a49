"""Everything is computed where its inputs are: on torch's meta device, which no other mixes with."""

from __future__ import annotations

import pytest
import torch

from u2a.method.branch import mean_of_rows
from u2a.method.losses import Counts, alignment_loss, compute_losses, exhaustive_task_losses, task_losses
from u2a.method.selection import drop_modalities, select_tokens

B, M, D, C = 5, 3, 4, 6
CLS = torch.empty(B, M, D, device="meta")
PRESENT = torch.empty(B, M, dtype=torch.bool, device="meta")


@pytest.mark.parametrize("mask", [CLS, torch.empty(B, M, M, D, device="meta")])
def test_tokens_and_losses_stay_where_they_are(mask: torch.Tensor) -> None:
    assert select_tokens(CLS, mask, PRESENT).is_meta
    assert alignment_loss(CLS, mask, PRESENT).is_meta
    # The plan's counts are the processor's, whatever the model computes on.
    counts = Counts.of(torch.ones(B, M, dtype=torch.bool))
    alignment = alignment_loss(CLS, mask, PRESENT, pairs_MM=counts.pairs_MM)
    losses = compute_losses(torch.empty(B, device="meta"), alignment, counts, 0.2)
    assert all(loss.is_meta for loss in losses.values())


@pytest.mark.parametrize(
    "target", [torch.empty(B, dtype=torch.long, device="meta"), torch.empty(B, C, device="meta")]
)
def test_task_losses_stay_where_they_are(target: torch.Tensor) -> None:
    def classify(kept_BM: torch.Tensor) -> torch.Tensor:
        assert kept_BM.is_meta
        return torch.empty(B, C, device="meta")

    assert task_losses(classify(PRESENT), target).is_meta
    assert exhaustive_task_losses(classify, PRESENT, target).is_meta


def test_dropout_and_frames_stay_where_they_are() -> None:
    assert drop_modalities(PRESENT, torch.empty(M, dtype=torch.bool, device="meta")).is_meta
    assert mean_of_rows(CLS, None).is_meta
