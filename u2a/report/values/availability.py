"""The headline score when x % of the samples that have a modality keep it (paper Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from torch import Tensor

from u2a.evaluation.scenarios import count_kept, ranks
from u2a.report.values.predictions import Predictions

SHARES = tuple(Decimal(x) / 10 for x in range(11))


def availability(
    complete: Predictions,
    without: Predictions,
    usable_N: Tensor,
    name: str,
    keys: Sequence[str],
    present_N: Tensor,
) -> dict[str, Any]:
    """Score one modality's curve; which samples keep it is chosen as ``u2a eval --keep`` does with seed 0.

    All points are scored on the samples that have another modality (`usable_N`), so that 0 % is the score
    with the modality missing, and 100 % the complete one beside it. ``u2a eval --keep`` scores those that
    have nothing else and keep it, too, and what ``data.missing`` leaves: the points are its scores where
    every sample has another modality and the recipe takes nothing away.

    Returns:
        ``modality``, ``n``, ``shares`` in 0..1 and ``scores``.
    """
    rank_N = ranks(keys, name, present_N)
    n_have, points = int(present_N.sum()), []
    for share in SHARES:
        kept_N = rank_N < count_kept(share, n_have)
        points.append(complete.mixed(without, kept_N).at(usable_N).score())
    n = int(usable_N.sum())
    return {"modality": name, "n": n, "shares": [float(s) for s in SHARES], "scores": points}
