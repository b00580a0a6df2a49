"""The headline score when a modality is there for x % of the samples (paper Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from torch import Tensor

from u2a.report.predictions import Predictions
from u2a.report.scenarios import count_kept, ranks

SHARES = tuple(Decimal(x) / 10 for x in range(11))


def availability(
    complete: Predictions,
    without: Predictions,
    usable_N: Tensor,
    name: str,
    keys: Sequence[str],
    present_N: Tensor,
) -> dict[str, Any]:
    """Score one modality's curve; which samples keep it is ``u2a eval --keep`` with seed 0.

    All points are scored on the samples that have another modality (`usable_N`), so that 0 % is the score
    with the modality missing, and 100 % the complete one beside it.

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
