"""The fits one after the other, and what they chose.

Shape suffixes: see `u2a.method.head_start`.
"""

from __future__ import annotations

import torch

from u2a.method.head_start.frozen import FrozenTokens, divided, for_choices, hardly_judged
from u2a.method.head_start.joint import Patterns, fit_head, minimise_head
from u2a.method.head_start.probes import choose_read_outs, set_scale
from u2a.method.head_start.proxies import fit_proxies
from u2a.method.head_start.summary import Summary
from u2a.method.read_out import ModalityHead, ReadOuts


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
        validation: what choices are made on; None, or fewer than 30 and than a fifth of the training samples,
            holds out that fifth for the choices, and fits on all of them afterwards. Likewise a modality's own
            choices where so few validation samples have it, and then, or where they lack a pair of modalities,
            those that all share (proxies, factor and gate).
        read_out: ``cls``, ``mean`` or ``both`` for every modality, or ``auto``.
    """
    fit_on, judged = for_choices(train, validation, seed)
    summary = Summary(held_out=fit_on is not train)
    with torch.enable_grad():
        choose_read_outs(read_outs, head, fit_on, judged, read_out, summary, seed)
        if fit_on is train and (lacking := hardly_judged(train, judged)):
            summary.held_out, summary.lacking = True, [_named(read_outs, group) for group in lacking]
            fit_on, judged = divided(train, seed)
            _set_scales(read_outs, fit_on, summary)
        fit_proxies(read_outs, fit_on, judged, summary)
        fit_head(read_outs, head, fit_on, judged, summary)
        if summary.held_out:
            _refit(read_outs, head, train, summary)
    return summary


def _refit(read_outs: ReadOuts, head: ModalityHead, train: FrozenTokens, summary: Summary) -> None:
    """The choices of a part of the samples, fitted on all of them."""
    _set_scales(read_outs, train, summary)
    fit_proxies(read_outs, train, train, Summary(ridges=summary.ridges))
    minimise_head(head, Patterns(read_outs, train), summary.gate)


def _set_scales(read_outs: ReadOuts, side: FrozenTokens, summary: Summary) -> None:
    """Statistics of the read-outs that were chosen, of these samples."""
    for m, name in enumerate(read_outs.names):
        set_scale(read_outs, m, side, summary.read_outs[name])


def _named(read_outs: ReadOuts, group: tuple[int, ...]) -> str:
    return " + ".join(read_outs.names[m] for m in group)
