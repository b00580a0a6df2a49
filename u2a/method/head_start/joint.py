"""The joint fit of the head, on the exhaustive task loss of fixed tokens.

Shape suffixes: see `u2a.method.head_start`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from u2a.method.head_start.frozen import PATIENCE, FrozenTokens, minimise, own_read_out
from u2a.method.head_start.summary import Summary
from u2a.method.losses import task_losses
from u2a.method.read_out import ModalityHead, Proxy, ReadOuts
from u2a.method.selection import subsets

#: Common factors on the probes' decays, for the joint fit.
FACTORS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
#: Logits that are computed at once.
LARGEST = 20_000_000


class Patterns:
    """Logits of every availability pattern of fixed tokens; what they share is computed once a call.

    A stand-in of low rank meets the head as a code: ``W_j decode_ij code_ij``.
    """

    def __init__(self, read_outs: ReadOuts, side: FrozenTokens) -> None:
        names = read_outs.names
        self.present_NM, self.target, self.D = side.present_NM, side.target, read_outs.width
        self.class_weights = side.class_weights
        self.own = [own_read_out(read_outs, m, side) * side.present_NM[:, m, None] for m in range(len(names))]
        self.codes: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        with torch.no_grad():
            for i, name in enumerate(names if read_outs.proxies else ()):
                source_NKS = read_outs.source(i, side.tokens[i])
                for j, target in enumerate(names):
                    if i != j:
                        proxy = cast(Proxy, read_outs.proxies[f"{name}_to_{target}"])
                        k = j - (j > i) if source_NKS.shape[1] > 1 else 0
                        self.codes[i, j] = proxy.encode(source_NKS[:, k]), proxy.decode.weight

    def loss(self, head: ModalityHead, gate: float) -> Tensor:
        """The exhaustive task loss (each sample's mean over the subsets of its own presence), a scalar."""
        terms_TNC = self._terms(list(head.each_weight()), gate)
        n_subsets_N = 2 ** self.present_NM.sum(1) - 1
        total = head.bias.new_zeros(())
        for part_PT, has_all_PN in self._parts(terms_TNC):
            logits_PNC = head.bias + torch.einsum("pt,tnc->pnc", part_PT, terms_TNC)
            target = self.target.expand(len(part_PT), *self.target.shape).flatten(0, 1)
            losses_PN = task_losses(logits_PNC.flatten(0, 1), target, self.class_weights)
            losses_PN = losses_PN.view(len(part_PT), -1)
            total = total + (torch.where(has_all_PN, losses_PN, 0) / n_subsets_N).sum()
        return total / len(self.target)

    def _terms(self, weights: Sequence[Tensor], gate: float) -> Tensor:
        """What the logits are sums of: M own terms, then one a pair of source and target, ``[T, N, C]``."""
        own = [x_NF @ w.T for x_NF, w in zip(self.own, weights, strict=True)]
        pairs = self.codes.items() if gate else ()
        stand_ins = [gate * code_NR @ (up_FR.T @ weights[j].T) for (_, j), (code_NR, up_FR) in pairs]
        return torch.stack([*own, *stand_ins]) / self.D**0.5

    def _parts(self, terms_TNC: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Patterns a few at a time: how much of each term they take, and which samples can have them."""
        M, (T, N, C) = self.present_NM.shape[1], terms_TNC.shape
        found = subsets(M)
        size = max(1, LARGEST // max(1, N * C))
        for start in range(0, len(found), size):
            kept_PM = torch.tensor(found[start : start + size], device=terms_TNC.device)
            part_PT = terms_TNC.new_zeros(len(kept_PM), T)
            part_PT[:, :M] = kept_PM.to(terms_TNC.dtype)
            for t, (i, j) in enumerate(self.codes if T > M else (), start=M):
                takes_P = kept_PM[:, i] & ~kept_PM[:, j]
                part_PT[:, t] = takes_P / kept_PM.sum(1)
            yield part_PT, (self.present_NM | ~kept_PM.unsqueeze(1)).all(2)


def fit_head(
    read_outs: ReadOuts, head: ModalityHead, train: FrozenTokens, validation: FrozenTokens, summary: Summary
) -> None:
    """The joint fit: a common factor on the decays, and whether proxies stand in, by validation loss.

    A probe's loss is the mean of the samples that have its modality, which is of that share in the joint loss:
    so is its decay.
    """
    fitted, judged = Patterns(read_outs, train), Patterns(read_outs, validation)
    shares_M = train.present_NM.double().mean(0).tolist()
    decays_M = [summary.decays[name] * share for name, share in zip(read_outs.names, shares_M, strict=True)]
    best: tuple[float, float, float, dict[str, Tensor]] | None = None
    for gate in (0.0, 1.0) if read_outs.proxies else (0.0,):
        reached = float("inf")
        _reset(head)
        for factor in FACTORS:
            _set_decay(head, [decay * factor for decay in decays_M])
            minimise_head(head, fitted, gate)
            with torch.no_grad():
                loss = float(judged.loss(head, gate))
            if best is None or loss < best[0]:
                best = loss, factor, gate, {k: v.clone() for k, v in head.state_dict().items()}
            if loss > reached * PATIENCE:
                break
            reached = min(reached, loss)
    assert best is not None
    summary.loss, factor, summary.gate = best[:3]
    summary.decays = {name: d * factor for name, d in zip(read_outs.names, decays_M, strict=True)}
    head.load_state_dict(best[3])
    cast(Tensor, read_outs.gate).fill_(summary.gate)


def _reset(head: ModalityHead) -> None:
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()


def _set_decay(head: ModalityHead, decays: Sequence[float]) -> None:
    decay_M = cast(Tensor, head.decay_M)
    decay_M.copy_(torch.tensor(decays, dtype=decay_M.dtype))


def minimise_head(head: ModalityHead, patterns: Patterns, gate: float) -> None:
    parameters = list(head.parameters())
    minimise(parameters, lambda: patterns.loss(head, gate) + head.penalty())
    for parameter in parameters:
        parameter.grad = None
