"""Each modality's read-out and decay, by linear probes of that modality alone.

Shape suffixes: see `u2a.method.head_start`.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor

from u2a.method.head_start.frozen import (
    PATIENCE,
    FrozenTokens,
    for_choices,
    minimise,
    own_read_out,
    statistics,
)
from u2a.method.head_start.summary import Summary
from u2a.method.losses import task_losses
from u2a.method.read_out import ModalityHead, ReadOuts, Scale, both

#: What a modality's read-out may be: which halves of class and mean token side by side.
READ_OUTS = {"cls": (True, False), "mean": (False, True), "both": (True, True)}
#: Weight decays of single probes, strongest first; the path ends where validation grows worse.
DECAYS = tuple(0.3 * 10 ** (-i / 2) for i in range(12))


def choose_read_outs(
    read_outs: ReadOuts,
    head: ModalityHead,
    train: FrozenTokens,
    validation: FrozenTokens,
    read_out: str,
    summary: Summary,
    seed: int = 0,
) -> None:
    """Each modality's read-out and decay, by the validation loss of its own linear probe.

    Where too few validation samples have a modality, a part of the training samples that do chooses.
    """
    kinds = tuple(READ_OUTS) if read_out == "auto" else (read_out,)
    for m, name in enumerate(read_outs.names):
        losses: dict[str, float] = {}
        best: tuple[float, float, str] | None = None
        sides = _having(m, train, validation, seed)
        for kind in kinds:
            set_scale(read_outs, m, train, kind)
            loss, decay = _probe(read_outs, head, m, *sides)
            losses[kind] = loss
            best = min(best or (loss, decay, kind), (loss, decay, kind))
        assert best is not None
        set_scale(read_outs, m, train, best[2])
        summary.read_outs[name], summary.decays[name] = best[2], best[1]
        summary.probe_losses[name] = losses


def _having(
    m: int, train: FrozenTokens, validation: FrozenTokens, seed: int
) -> tuple[FrozenTokens, FrozenTokens]:
    """The samples of both sides that have modality m; of few on the other side, both are training samples."""
    own, judged = (side.rows(side.present_NM[:, m]) for side in (train, validation))
    return for_choices(own, judged, seed)


def set_scale(read_outs: ReadOuts, m: int, train: FrozenTokens, kind: str) -> None:
    """Statistics of modality m's read-out, of the training samples that have it."""
    own_NF = both(train.tokens[m])[train.present_NM[:, m]]
    H = own_NF.shape[1] // 2
    used_F = torch.tensor(READ_OUTS[kind], device=own_NF.device).repeat_interleave(H)
    cast(Scale, read_outs.scales[read_outs.names[m]]).set(*statistics(own_NF, used_F))


def _probe(
    read_outs: ReadOuts, head: ModalityHead, m: int, train: FrozenTokens, validation: FrozenTokens
) -> tuple[float, float]:
    """The lowest validation loss of a linear probe of modality m along the path of decays, and its decay.

    All samples of both sides have it.
    """
    (x_NF, y), (x_val, y_val) = (
        (own_read_out(read_outs, m, side) / read_outs.width**0.5, side.target) for side in (train, validation)
    )
    best = (float("inf"), DECAYS[-1])
    if not len(y) or not len(y_val):
        return best
    weight = torch.zeros_like(next(iter(head.each_weight()))[:, :1]).expand(-1, x_NF.shape[1]).clone()
    parameters = [weight.requires_grad_(), torch.zeros_like(head.bias).requires_grad_()]

    def logits(x: Tensor) -> Tensor:
        return x @ parameters[0].T + parameters[1]

    def loss_with(decay: float) -> Tensor:
        return task_losses(logits(x_NF), y, train.class_weights).mean() + decay * parameters[0].square().sum()

    for decay in DECAYS:
        minimise(parameters, partial(loss_with, decay))
        with torch.no_grad():
            loss = float(task_losses(logits(x_val), y_val, train.class_weights).mean())
        if loss > best[0] * PATIENCE:
            break
        best = min(best, (loss, decay))
    return best
