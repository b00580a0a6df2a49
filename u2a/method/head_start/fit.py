"""The fits one after the other, and what they chose.

Shape suffixes: see `u2a.method.head_start`.
"""

from __future__ import annotations

import torch

from u2a.method.head_start.frozen import FrozenTokens
from u2a.method.head_start.joint import Patterns, fit_head, minimise_head
from u2a.method.head_start.probes import choose_read_outs, set_scale
from u2a.method.head_start.proxies import fit_proxies
from u2a.method.head_start.summary import Summary
from u2a.method.read_out import ModalityHead, ReadOuts

#: Share of the training samples that choices are made on where there is no validation data.
HELD_SHARE = 0.2
#: Fewer validation samples than these pick at random: a larger part of the training samples chooses better.
FEWEST = 30


def fit_head_start(
    read_outs: ReadOuts,
    head: ModalityHead,
    train: FrozenTokens,
    validation: FrozenTokens | None,
    *,
    read_out: str = "auto",
    seed: int = 0,
) -> Summary:
    """Fit statistics, proxies and head in place.

    Args:
        train: tokens of the training samples, on the modules' device, float32.
        validation: what choices are made on; None, or fewer than `FEWEST` and than a fifth of the training
            samples, holds out that fifth for the choices, and fits on all of them afterwards.
        read_out: ``cls``, ``mean`` or ``both`` for every modality, or ``auto``.
    """
    n = 0 if validation is None else len(validation.target)
    summary = Summary(held_out=n < FEWEST and n < HELD_SHARE * len(train.target))
    fit_on = train
    if validation is None or summary.held_out:
        held_N = torch.zeros(len(train.target), dtype=torch.bool, device=train.target.device)
        order = torch.randperm(len(held_N), generator=torch.Generator().manual_seed(seed))
        held_N[order[: max(1, round(HELD_SHARE * len(held_N)))].to(held_N.device)] = True
        fit_on, validation = train.rows(~held_N), train.rows(held_N)
    with torch.enable_grad():
        choose_read_outs(read_outs, head, fit_on, validation, read_out, summary)
        fit_proxies(read_outs, fit_on, validation, summary)
        fit_head(read_outs, head, fit_on, validation, summary)
        if summary.held_out:
            _refit(read_outs, head, train, summary)
    return summary


def _refit(read_outs: ReadOuts, head: ModalityHead, train: FrozenTokens, summary: Summary) -> None:
    """The choices of a part of the samples, fitted on all of them."""
    for m, name in enumerate(read_outs.names):
        set_scale(read_outs, m, train, summary.read_outs[name])
    fit_proxies(read_outs, train, train, Summary(ridges=summary.ridges))
    minimise_head(head, Patterns(read_outs, train), summary.gate)
