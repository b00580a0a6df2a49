"""What each class loses with each modality: intervals that hold for all of them together.

Shape suffixes: N samples, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import of_classes
from u2a.report.values.sources import Differences


def class_intervals(
    complete: Predictions, without: Mapping[str, tuple[Predictions, Tensor]], seed: int = 0
) -> dict[str, list[list[float]]]:
    """Of the change of every class's score when a modality is missing, on the samples that it leaves.

    The largest of many losses is large by chance alone; these intervals allow for all that could have been it.

    Args:
        without: by modality, predictions without it and the usable samples.

    Returns:
        By modality, ``[low, high]`` of each class; NaN where it has no sample.
    """
    if not without:
        return {}
    values, sizes = [], []
    for predictions, usable_N in without.values():
        value_NC = np.full(complete.truth_NC.shape, np.nan)
        mine_NC, all_NC = (of_classes(found.at(usable_N))[1] for found in (predictions, complete))
        value_NC[usable_N.numpy()] = mine_NC - all_NC
        values.append(value_NC)
        sizes.append(complete.truth_NC[usable_N].sum(0).numpy())
    value_NK, size_K = np.concatenate(values, 1), np.concatenate(sizes).astype(float)
    rows = Differences(value_NK, (), size_K)
    found = rows.intervals(rows.simultaneous(seed))
    C = complete.truth_NC.shape[1]
    return {name: found[i * C : (i + 1) * C] for i, name in enumerate(without)}
