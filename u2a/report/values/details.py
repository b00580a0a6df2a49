"""What is told of one recipe beyond its patterns, from all of its runs: they differ in their seed alone.

Shape suffixes: N samples, M modalities, C classes, S runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from u2a.report.values.calibration import calibration
from u2a.report.values.class_intervals import class_intervals
from u2a.report.values.contributions import Contributions, contributions
from u2a.report.values.mistakes import confusion, constant_answer
from u2a.report.values.predictions import Predictions
from u2a.report.values.tokens import token_rows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Detail:
    """What is kept of a run for this.

    Attributes:
        complete: predictions with all that the data has.
        without: for each modality whose absence leaves a sample: predictions without it, the usable samples.
        zeros: `without`'s predictions, with zeros in place of the mask tokens.
        tokens: `u2a.report.values.tokens.token_quality`.
    """

    complete: Predictions
    without: Mapping[str, tuple[Predictions, Tensor]]
    zeros: Mapping[str, Predictions]
    tokens: list[dict[str, Any]]
    contributions: Contributions


def told(runs: Sequence[Detail], names: Sequence[str], classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """``classes``, ``tokens``, ``contributions`` and so on, each the mean over the runs."""
    return {
        "confusion": confusion([run.complete for run in runs], classes),
        "constant": constant_answer(runs[0].complete),
        "classes": class_rows(runs, classes, seed),
        "tokens": token_rows([run.tokens for run in runs]),
        "contributions": contributions([run.contributions for run in runs], names, classes),
        "calibration": calibration_rows(runs, seed),
    }


def class_rows(runs: Sequence[Detail], classes: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """A row a class that occurs: complete, each modality missing, and the same without mask tokens.

    ``complete`` is of all samples, ``complete_beside`` of those that are left with each modality missing:
    what a loss is measured from. ``change_interval`` holds for all classes and modalities together;
    ``complete_by_seed`` is of each run.
    """
    complete_SC = np.stack([run.complete.class_scores().numpy() for run in runs])
    counts_C = runs[0].complete.truth_NC.sum(0)
    scores = {
        "complete_beside": _over_runs(runs, lambda run, name: run.complete),
        "missing": _over_runs(runs, lambda run, name: run.without[name][0]),
        "missing_without_mask_tokens": _over_runs(runs, lambda run, name: run.zeros[name]),
    }
    intervals = class_intervals([run.complete for run in runs], [run.without for run in runs], seed)
    return [
        {"class": name, "n": int(counts_C[c]), "complete": float(complete_SC[:, c].mean())}
        | {"complete_by_seed": complete_SC[:, c].tolist()}
        | {part: {m: _number(found_C[c]) for m, found_C in found.items()} for part, found in scores.items()}
        | {"change_interval": {m: found[c] for m, found in intervals.items()}}
        for c, name in enumerate(classes)
        if counts_C[c]
    ]


def calibration_rows(runs: Sequence[Detail], seed: int = 0) -> list[dict[str, Any]]:
    """Calibration complete and with each modality missing."""
    first = runs[0]
    rows: list[dict[str, Any]] = [
        {"missing": None, "n": len(first.complete)} | calibration([run.complete for run in runs], seed)
    ]
    for name, (_, usable_N) in first.without.items():
        left = [run.without[name][0].at(usable_N) for run in runs]
        rows.append({"missing": name, "n": int(usable_N.sum())} | calibration(left, seed))
    return rows


def _over_runs(runs: Sequence[Detail], choose: Callable[[Detail, str], Predictions]) -> dict[str, Array]:
    """Means over the runs of class scores on the samples that are left without each modality, ``[C]``."""
    return {
        name: np.mean([choose(run, name).at(usable_N).class_scores().numpy() for run in runs], 0)
        for name, (_, usable_N) in runs[0].without.items()
    }


def _number(value: float) -> float | None:
    """A plain float; None for NaN, which JSON does not know."""
    return None if np.isnan(value) else float(value)
