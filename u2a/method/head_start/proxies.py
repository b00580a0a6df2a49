"""The maps that stand in for what is missing: ridge regression cut to a rank.

Shape suffixes: see `u2a.method.head_start`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from u2a.method.head_start.frozen import FrozenTokens, own_read_out, statistics
from u2a.method.head_start.summary import Summary
from u2a.method.read_out import Proxy, ReadOuts, Scale, beside_mask

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


def fit_proxies(read_outs: ReadOuts, train: FrozenTokens, validation: FrozenTokens, summary: Summary) -> None:
    """Ridge regression of every read-out on every other modality's tokens, cut to rank R, in place.

    The mask tokens of a network that has not been trained say nothing yet: their part starts at zero.
    """
    if not read_outs.proxies:
        return
    for i, name in enumerate(read_outs.names):
        _set_source_scale(read_outs, i, train)
        for j, target in enumerate(read_outs.names):
            if i != j:
                pair = f"{name}_to_{target}"
                ridges = (summary.ridges[pair],) if pair in summary.ridges else RIDGES
                found = _fit_proxy(read_outs, i, j, train, validation, ridges)
                summary.proxy_errors[pair], summary.ridges[pair] = found


def _set_source_scale(read_outs: ReadOuts, i: int, train: FrozenTokens) -> None:
    beside_NKS = beside_mask(train.tokens[i])[train.present_NM[:, i]]
    found = [statistics(beside_NS) for beside_NS in beside_NKS.unbind(1)]
    mean_KS, scale_KS = (torch.stack(column) for column in zip(*found, strict=True))
    H = mean_KS.shape[1] // 3
    halves = scale_KS[:, :H], scale_KS[:, H:]  # constant before training: an untrained mask token still counts
    scale_KS = torch.cat([halves[0].clamp(max=halves[1].square().mean().sqrt()), halves[1]], 1)
    cast(Scale, read_outs.sources[read_outs.names[i]]).set(mean_KS, scale_KS)


def _fit_proxy(
    read_outs: ReadOuts,
    i: int,
    j: int,
    train: FrozenTokens,
    validation: FrozenTokens,
    ridges: Sequence[float],
) -> tuple[float, float]:
    """Reduced-rank ridge regression in place: squared error on validation (1 = a constant's), and its ridge."""
    proxy = cast(Proxy, read_outs.proxies[f"{read_outs.names[i]}_to_{read_outs.names[j]}"])
    (x_NS, z_NF), (x_val, z_val) = (_pairs(read_outs, i, j, side) for side in (train, validation))
    if len(x_NS) < 2 or not len(x_val):
        return float("nan"), ridges[-1]
    eigenvalues_A, basis_SA = _axes(x_NS)
    rotated_AF = basis_SA.T @ (x_NS.T @ z_NF)

    def of_rank(ridge: float) -> tuple[Tensor, Tensor]:
        """The best map of rank R keeps the leading directions of what the full one predicts."""
        map_AF = rotated_AF / (eigenvalues_A + ridge * len(x_NS)).unsqueeze(1)
        top_FR = _axes(map_AF * eigenvalues_A.sqrt().unsqueeze(1))[1][:, -proxy.encode.out_features :]
        return basis_SA @ (map_AF @ top_FR), top_FR

    found = []
    for ridge in ridges:
        down_SR, top_FR = of_rank(ridge)
        found.append((_relative_error(x_val @ down_SR @ top_FR.T, z_val), ridge))
    error, ridge = min(found)
    down_SR, top_FR = of_rank(ridge)
    deviation_R = (x_NS @ down_SR).square().mean(0).sqrt().clamp(min=1e-12)
    _put(proxy, down_SR / deviation_R, top_FR * deviation_R)
    return error, ridge


def _axes(x_NS: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of ``x.T @ x``, ascending, and its axes ``[S, A]``; of fewer rows only what they span."""
    if len(x_NS) >= x_NS.shape[1]:
        eigenvalues_S, basis_SS = torch.linalg.eigh(x_NS.T @ x_NS)
        return eigenvalues_S.clamp(min=0), basis_SS
    eigenvalues_N, left_NN = torch.linalg.eigh(x_NS @ x_NS.T)
    kept_N = eigenvalues_N > 1e-6 * eigenvalues_N[-1]  # beyond what 32 bits round off
    eigenvalues_A = eigenvalues_N[kept_N]
    return eigenvalues_A, x_NS.T @ (left_NN[:, kept_N] / eigenvalues_A.sqrt())


def _pairs(read_outs: ReadOuts, i: int, j: int, side: FrozenTokens) -> tuple[Tensor, Tensor]:
    """Class and mean token of i, read-out of j, of the samples that have both."""
    there = side.rows(side.present_NM[:, i] & side.present_NM[:, j])
    H = there.tokens[i].cls_PH.shape[1]
    return read_outs.source(i, there.tokens[i])[:, 0, H:], own_read_out(read_outs, j, there)


def _relative_error(estimate_NF: Tensor, z_NF: Tensor) -> float:
    return float((estimate_NF - z_NF).square().mean() / z_NF.square().mean().clamp(min=1e-30))


def _put(proxy: Proxy, down_SR: Tensor, up_FR: Tensor) -> None:
    """The fitted map; unused ranks and the mask token's part at zero."""
    R = down_SR.shape[1]
    with torch.no_grad():
        proxy.encode.weight.zero_()
        proxy.encode.weight[:R, -len(down_SR) :] = down_SR.T
        proxy.decode.weight.zero_()
        proxy.decode.weight[:, :R] = up_FR
