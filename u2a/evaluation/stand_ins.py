"""How near what stands in for a missing modality comes to what it stands for: mask tokens, or proxies.

Shape suffixes: N samples, P samples that have both modalities, M modalities in recipe order, D width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from u2a.evaluation.encoding import Encoded
from u2a.evaluation.scoring import Scenario, Scorer


def pair_errors(encoded: Encoded, i: int, j: int) -> tuple[Tensor, Tensor]:
    """Squared errors, meant over the D entries, of i's stand-in for j, and of a constant, j's mean.

    Returns:
        ``error_P`` and ``constant_P``, float64, of the samples that have both.
    """
    both_N = encoded.present_NM[:, i] & encoded.present_NM[:, j]
    mask_PD, cls_PD = encoded.mask_NMMD[both_N, i, j], encoded.cls_NMD[both_N, j]
    error_P = (mask_PD - cls_PD).square().mean(1).double()
    return error_P, (cls_PD - cls_PD.mean(0)).square().mean(1).double()


def relative_error(error_P: Tensor, constant_P: Tensor) -> float | None:
    """1 is a constant, less tells something of the sample; None where nothing varies, or nobody has both."""
    constant = float(constant_P.sum())
    return float(error_P.sum()) / constant if constant > 0 else None


def with_stand_ins(scenario: Scenario, scorer: Scorer) -> Scenario:
    """The scenario with the relative error of every direction that its pattern uses."""
    names = scorer.model.names
    found = {
        f"{source}_to_{target}": _error(scorer, i, j)
        for j, target in enumerate(names)
        for i, source in enumerate(names)
        if target in scenario.dropped and source not in scenario.dropped
    }
    return dataclasses.replace(scenario, stand_ins=found)


def _error(scorer: Scorer, i: int, j: int) -> float | None:
    """The same in every pattern, so it is computed once."""
    if (i, j) not in scorer.pair_errors:
        scorer.pair_errors[i, j] = relative_error(*pair_errors(scorer.encoded, i, j))
    return scorer.pair_errors[i, j]


def told(scenarios: Sequence[Scenario]) -> str:
    """One line for a person; empty where nothing stands in for anything."""
    found = {pair: e for one in scenarios for pair, e in one.stand_ins.items() if e is not None}
    errors = ", ".join(f"{pair.replace('_to_', ' to ')} {error:.2f}" for pair, error in found.items())
    return f"squared error of what stands in for the missing (1 = a constant): {errors}" if errors else ""
