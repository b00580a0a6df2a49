"""What each class loses with each modality: intervals that hold for all of them together.

Shape suffixes: N samples, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import of_classes
from u2a.report.values.sources import Differences

Without = Mapping[str, tuple[Predictions, Tensor]]


def class_intervals(
    completes: Sequence[Predictions], withouts: Sequence[Without], seed: int = 0
) -> dict[str, list[list[float]]]:
    """Of the change of every class's score when a modality is missing, on the samples that it leaves.

    The largest of many losses is large by chance alone; these intervals allow for all that could have been it.

    Args:
        completes: of each run, which differ in their seed alone; withouts: likewise, by modality, predictions
            without it and the usable samples.

    Returns:
        By modality, ``[low, high]`` of each class; NaN where it has no sample.
    """
    if not withouts[0]:
        return {}
    pairs = zip(completes, withouts, strict=True)
    value_SNK = np.stack([_changes(complete, without) for complete, without in pairs])
    usable = [completes[0].truth_NC[usable_N] for _, usable_N in withouts[0].values()]
    size_K = np.concatenate([truth_NC.sum(0).numpy() for truth_NC in usable]).astype(float)
    rows = dataclasses.replace(Differences.of_one(value_SNK), size_K=size_K)
    found = np.clip(rows.intervals(rows.simultaneous(seed)), -1, 1).tolist()  # no score changes by more
    C = completes[0].truth_NC.shape[1]
    return {name: found[i * C : (i + 1) * C] for i, name in enumerate(withouts[0])}


def _changes(complete: Predictions, without: Without) -> NDArray[np.float64]:
    """Pseudo-values of each class's change, one modality's classes after another's, ``[N, K]``."""
    values = []
    for predictions, usable_N in without.values():
        value_NC = np.full(complete.truth_NC.shape, np.nan)
        mine_NC, all_NC = (of_classes(found.at(usable_N))[1] for found in (predictions, complete))
        value_NC[usable_N.numpy()] = mine_NC - all_NC
        values.append(value_NC)
    return np.concatenate(values, 1)
