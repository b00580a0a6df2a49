"""The headline score when x % of the samples that have a modality keep it (paper Fig. 2), as an expectation.

Which samples keep it is chance. The expected score has two parts: that of the pseudo-values, exact (each
sample keeps the modality with the same probability), and the mean, over `DRAWS` draws, of what the score of
the draw differs from it. The second part is 0 for a share, and small for any other metric.

Shape suffixes: N samples, K shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from u2a.common.seeds import stable_seed
from u2a.evaluation.scenarios import count_kept
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues
from u2a.report.values.scores import Scores

Array = NDArray[np.float64]
SHARES = tuple(Decimal(x) / 10 for x in range(11))
#: Draws of who keeps a modality, beyond what the pseudo-values tell exactly.
DRAWS = 20


@dataclass(frozen=True)
class Curve:
    """One modality's curve of one run.

    Attributes:
        modality: its name; n: samples that have another one, on which every point is scored.
        score_K: expected at each of `SHARES`; value_NK: pseudo-values, NaN for other samples.
        draw_sd_K: standard deviation of the score over draws of who keeps the modality.
        most, unseen_K: see `u2a.report.values.pseudovalues.PseudoValues`.
    """

    modality: str
    n: int
    score_K: Array
    value_NK: Array
    draw_sd_K: Array
    most: float
    unseen_K: Array


def curve(
    complete: Predictions,
    without: Predictions,
    pseudo: tuple[PseudoValues, PseudoValues],
    usable_N: Tensor,
    name: str,
    present_N: Tensor,
    seed: int = 0,
) -> Curve:
    """One modality's curve.

    All points are scored on the samples that have another modality (`usable_N`), so that 0 % is the score with
    the modality missing, and 100 % the complete one beside it.

    Args:
        pseudo: pseudo-values of the usable samples, complete and without the modality.
        present_N: who has the modality.
    """
    whole_N, bare_N = (values.value_N for values in pseudo)
    have_N, n = present_N.numpy(), int(usable_N.sum())
    n_have = int(have_N.sum())
    draw = np.random.default_rng(stable_seed("availability", seed, name))
    scores, values, deviations, unseen = [], [], [], []
    for share in SHARES:
        n_kept = count_kept(share, n_have)
        part = n_kept / n_have if n_have else 1.0
        value_N = np.where(have_N, part * whole_N + (1 - part) * bare_N, whole_N)
        rest = 0.0
        if not pseudo[0].share:
            draws = 1 if n_kept in (0, n_have) else DRAWS
            kept = [_draw(have_N, n_kept, draw) for _ in range(draws)]
            rests = (
                [
                    complete.mixed(without, torch.from_numpy(kept_N)).at(usable_N).score()
                    - np.nanmean(np.where(kept_N, whole_N, bare_N))
                    for kept_N in kept
                ]
                if not np.isnan(whole_N).all()
                else [np.nan]
            )
            rest = float(np.mean(rests))
        values.append(value_N)
        unseen.append(part * pseudo[0].unseen + (1 - part) * pseudo[1].unseen)
        usable_values_N = value_N[usable_N.numpy()]
        scores.append(float(usable_values_N.mean()) + rest)
        both_N = (whole_N - bare_N)[have_N & usable_N.numpy()]
        deviations.append(_deviation(both_N, n_kept, n_have) / n)
    drawn = np.array(deviations)
    return Curve(
        name, n, np.array(scores), np.stack(values, 1), drawn, pseudo[0].most, np.array(unseen, dtype=float)
    )


def _draw(have_N: NDArray[np.bool_], n_kept: int, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Keep the modality in that many of the samples that have it."""
    kept_N = ~have_N
    kept_N[draw.permutation(np.flatnonzero(have_N))[:n_kept]] = True
    return kept_N


def _deviation(difference_P: Array, n_kept: int, n_have: int) -> float:
    """Of the sum of these differences over a random subset (that of sampling without replacement).

    Samples that have the modality alone are drawn, too, but change nothing: they count as zeros.
    """
    if n_have < 2:
        return 0.0
    mean, square = difference_P.sum() / n_have, (difference_P**2).sum()
    variance = (square - n_have * mean**2) / (n_have - 1)
    return float(np.sqrt(max(0.0, n_kept * (1 - n_kept / n_have) * variance)))


def curves(runs: Sequence[Sequence[Curve]]) -> list[dict[str, Any]]:
    """Every modality's curve: means over the runs, which differ in their seed alone.

    Returns:
        For each: ``modality``, ``n``, ``shares`` in 0..1, ``scores``, ``interval`` (95 %, of each point: other
        test samples and, with several runs, other seeds), ``draw_sd`` (of the choice of who keeps it) and
        ``by_seed``.
    """
    rows = []
    for same in zip(*runs, strict=True):
        first = same[0]
        score_SK = np.stack([one.score_K for one in same])
        value_SNK = np.stack([one.value_NK for one in same])
        unseen_K = np.mean([one.unseen_K for one in same], 0)
        found = Scores(value_SNK, score_SK.mean(0), first.most, share=False, mixed=True, unseen_K=unseen_K)
        rows.append(
            {
                "modality": first.modality,
                "n": first.n,
                "shares": [float(share) for share in SHARES],
                "scores": score_SK.mean(0).tolist(),
                "interval": found.intervals(),
                "draw_sd": np.mean([one.draw_sd_K for one in same], 0).tolist(),
                "by_seed": score_SK.tolist(),
            }
        )
    return rows
