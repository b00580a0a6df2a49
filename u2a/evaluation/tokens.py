"""What the encoders say before anything stands behind them: class, mean and mask tokens, modality by modality.

Shape suffixes: N samples, B batch, M modalities in recipe order, H one encoder's width, K mask tokens.
"""

from __future__ import annotations

from torch import Tensor

from u2a.data.feeding.batches import Batch
from u2a.method.finite import refuse_non_finite
from u2a.method.model import U2A


def token_columns(model: U2A, batch: Batch) -> tuple[Tensor, ...]:
    """Class, mean and mask tokens of every modality, zeros where it is absent."""
    columns: list[Tensor] = []
    for m, branch in enumerate(model.each_branch()):
        present_B = batch.present_BM[:, m]
        K, H = branch.mask_tokens_KD.shape
        empty = branch.mask_tokens_KD.new_zeros
        rows = [empty(len(present_B), H), empty(len(present_B), H), empty(len(present_B), K, H)]
        if branch.name in batch.inputs:
            read = model.run_branch(m, batch.inputs)
            branch.check_samples(len(read.cls_PH), present_B)
            for row, part in zip(rows, read, strict=True):
                row[present_B] = part.to(row.dtype)
        columns += rows
    refuse_non_finite(columns, model, batch.inputs, batch.present_BM, batch.keys)
    return tuple(columns)
