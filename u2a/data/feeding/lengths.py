"""Samples of similar length in one batch: less padding, and the same samples as without.

Shape suffixes: N samples of the split, M modalities in recipe order.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from u2a.contract.modality import Preprocessor
from u2a.data.preprocessors import OwnedPreprocessor
from u2a.data.reading.split import Split

#: Samples are sorted within so many batches: enough to save most of the padding, few enough that reading stays
#: nearly sequential and batches stay mixed.
BATCHES = 16


def expected_lengths(split: Split, preprocessors: Mapping[str, Preprocessor]) -> NDArray[np.float64] | None:
    """About how many tokens each sample has, [N], in the modalities whose members differ; None if none do.

    Raises:
        PluginError: a preprocessor's ``lengths`` fails.
    """
    sizes_NM, total_N = None, None
    for m, preprocessor in enumerate(preprocessors.values()):
        if isinstance(preprocessor, OwnedPreprocessor) and hasattr(preprocessor.inner, "lengths"):
            sizes_NM = split.sizes() if sizes_NM is None else sizes_NM
            found_N = preprocessor.lengths(sizes_NM[:, m].clip(0))
            if found_N is not None:
                found_N = found_N * split.present_NM[:, m]
                total_N = found_N if total_N is None else total_N + found_N
    return total_N


def grouped(
    order: NDArray[np.int64],
    length_N: NDArray[np.float64],
    batch_size: int,
    ends: NDArray[np.int64],
    draw: np.random.Generator,
) -> NDArray[np.int64]:
    """An epoch's order whose batches hold samples of similar length; the batches follow one another as drawn.

    Args:
        order: places of the split as shuffled.
        ends: where the windows of `order` end. No sample leaves its window; a batch of two windows, and what is
            left over at the end, stay as they are.
    """
    order = order.copy()
    for start, end in zip([0, *ends], ends, strict=False):
        first, last = -(-start // batch_size), end // batch_size
        for b in range(first, last, BATCHES):
            part = order[b * batch_size : min(b + BATCHES, last) * batch_size]
            by_length = part[np.argsort(length_N[part], kind="stable")]
            part[:] = draw.permutation(by_length.reshape(-1, batch_size)).ravel()
    return order


def longest_first(
    places: NDArray[np.int64], length_N: NDArray[np.float64] | None, batch_size: int
) -> NDArray[np.int64]:
    """Places sorted by length within every few batches, for passes whose order does not count."""
    if length_N is None:
        return places
    size = BATCHES * batch_size
    parts = (places[i : i + size] for i in range(0, len(places), size))
    return np.concatenate([part[np.argsort(-length_N[part], kind="stable")] for part in parts] or [places])
