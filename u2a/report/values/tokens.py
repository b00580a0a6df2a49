"""How near each modality's mask token comes to the class token that it stands for (paper Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from u2a.evaluation.encoding import Encoded
from u2a.evaluation.stand_ins import pair_errors, relative_error


def token_quality(encoded: Encoded, truth_NC: Tensor, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """MSE and cosine of mask token i -> class token j, over the samples where both modalities are present.

    Args:
        truth_NC: bool, the classes of each sample.

    Returns:
        For every ordered pair: ``source``, ``target``, ``n``, ``mse`` (mean over the token's entries and the
        samples), ``cosine``, ``spread`` (the MSE that the mean class token, a constant, would have), ``error``
        (relative to a constant's) and, by class, ``class_mse`` and ``class_cosine`` (None for a class without
        samples).
    """
    rows = []
    for i, source in enumerate(names):
        for j, target in enumerate(names):
            if i != j:
                both_N = encoded.present_NM[:, i] & encoded.present_NM[:, j]
                row = {"source": source, "target": target, "n": int(both_N.sum())}
                rows.append(row | _pair(encoded, i, j, both_N, truth_NC))
    return rows


def _pair(encoded: Encoded, i: int, j: int, both_N: Tensor, truth_NC: Tensor) -> dict[str, Any]:
    mask_PD, cls_PD = encoded.mask_NMMD[both_N, i, j], encoded.cls_NMD[both_N, j]
    mse_P, spread_P = pair_errors(encoded, i, j)
    cosine_P = torch.cosine_similarity(mask_PD, cls_PD, dim=1).double()
    truth_PC = truth_NC[both_N].double()
    return {
        "mse": _mean(mse_P),
        "cosine": _mean(cosine_P),
        "spread": _mean(spread_P),
        "error": relative_error(mse_P, spread_P),
        "class_mse": _by_class(mse_P, truth_PC),
        "class_cosine": _by_class(cosine_P, truth_PC),
    }


def _mean(values_P: Tensor) -> float | None:
    return float(values_P.mean()) if len(values_P) else None


def _by_class(values_P: Tensor, truth_PC: Tensor) -> list[float | None]:
    sums_C, counts_C = values_P @ truth_PC, truth_PC.sum(0)
    return [float(s / n) if n else None for s, n in zip(sums_C, counts_C, strict=True)]


def token_rows(runs: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """`token_quality` of runs that differ in their seed alone: means over them, ``mse_by_seed`` of each."""
    rows = []
    for same in zip(*runs, strict=True):
        row: dict[str, Any] = {part: same[0][part] for part in ("source", "target", "n")}
        row |= {part: _over([one[part] for one in same]) for part in ("mse", "cosine", "spread", "error")}
        for part in ("class_mse", "class_cosine"):
            row[part] = [_over(values) for values in zip(*(one[part] for one in same), strict=True)]
        rows.append(row | {"mse_by_seed": [one["mse"] for one in same]})
    return rows


def _over(values: Sequence[float | None]) -> float | None:
    """The mean over runs; None where no sample counts, which is so in all of them."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
