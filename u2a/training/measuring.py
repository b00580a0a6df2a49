"""Encoders that are trained whole and want to know the training samples first (`Measuring`).

Shape suffixes: N samples, B batch, X measures of a sample.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from u2a.common.distributed import World
from u2a.contract.blame import blame
from u2a.data.feeding.batches import Batch
from u2a.method.model import U2A
from u2a.training.agreement import share_trained_buffers
from u2a.training.data import TrainingData

#: Samples that are measured at most, and bytes of what is measured of them.
MOST, MOST_BYTES = 20_000, 1 << 29


def fit_encoders(model: U2A, data: TrainingData, place: World) -> None:
    """Give each encoder that asks what it measures of the training samples; the same on all processes."""
    asking = [branch for branch in model.each_branch() if branch.measures]
    if not asking:
        return
    most = min(MOST, max(1, MOST_BYTES // (8 * sum(branch.measures for branch in asking))))
    columns = data.encode_training(model, _measured, most, only=tuple(branch.name for branch in asking))
    *found, present_NM, _, _ = columns
    for branch, measured_NX in zip(asking, found, strict=True):
        own_NX = measured_NX[present_NM[:, model.names.index(branch.name)]]
        with blame(branch.name, branch.owner, "fit"):
            if len(own_NX):
                backbone: Any = branch.backbone
                backbone.fit(own_NX)
    share_trained_buffers(model, place)


def _measured(model: U2A, batch: Batch) -> tuple[Tensor, ...]:
    """What each encoder that asks measures of a batch, zeros where its modality is absent."""
    columns = []
    for m, branch in enumerate(model.each_branch()):
        if branch.measures:
            present_B = batch.present_BM[:, m].cpu()
            rows_BX = torch.zeros(len(present_B), branch.measures, dtype=torch.float64)
            if branch.name in batch.inputs:
                backbone: Any = branch.backbone
                with blame(branch.name, branch.owner, "measure"):
                    rows_BX[present_B] = backbone.measure(**batch.inputs[branch.name]).cpu().double()
            columns.append(rows_BX)
    return tuple(columns)
