"""Vectors to standardised tensors. T vectors, F numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import u2a
from u2a_plugin_features.decode import decode_vectors

#: What is further from the mean is as good as infinite.
MOST_DEVIATIONS = 1e6


@dataclass(frozen=True)
class FeaturesPreprocessor(u2a.PaddingCollate):
    """Member bytes to ``{"values": float32 [T, F]}``; collated, padded on the right with an ``attention_mask``.

    Of a sequence longer than ``longest``, equal parts are averaged, so that nothing of it is left out.
    """

    size: int
    longest: int
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    def __call__(self, member: bytes, *, train: bool, seed: int) -> u2a.Example:
        """Decode, shorten and standardise.

        Raises:
            BadSample: see `u2a_plugin_features.decode.decode_vectors`; also values far beyond ``std``.
        """
        values_TF = shorten(decode_vectors(member, self.size), self.longest)
        scaled_TF = (values_TF - np.asarray(self.mean, np.float64)) / np.asarray(self.std, np.float64)
        if (furthest := np.abs(scaled_TF).max()) > MOST_DEVIATIONS:
            raise u2a.BadSample(f"holds a value {furthest:.3g} standard deviations from the recipe's mean")
        return {"values": torch.from_numpy(scaled_TF.astype(np.float32))}


def shorten(values_TF: np.ndarray, longest: int) -> np.ndarray:
    """At most ``longest`` vectors: the means of as many parts of (nearly) equal length."""
    T = len(values_TF)
    if longest >= T:
        return values_TF
    starts = np.arange(longest) * T // longest
    lengths = np.diff(np.append(starts, T))
    return np.add.reduceat(values_TF.astype(np.float64), starts, axis=0) / lengths[:, None]
