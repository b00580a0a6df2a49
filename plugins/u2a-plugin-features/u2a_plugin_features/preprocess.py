"""Vectors to tensors. T vectors, F numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import u2a
from u2a_plugin_features.decode import decode_vectors
from u2a_plugin_features.network import MOST_DEVIATIONS


@dataclass(frozen=True)
class FeaturesPreprocessor(u2a.PaddingCollate):
    """Member bytes to ``{"values": float32 [T, F]}``; collated, padded on the right with an ``attention_mask``.

    Of a sequence longer than ``longest``, equal parts are averaged, so that nothing of it is left out. Without
    ``mean`` and ``std`` the network standardises.
    """

    size: int
    longest: int
    mean: float | tuple[float, ...] | None
    std: float | tuple[float, ...] | None

    def __call__(self, member: bytes, *, train: bool, seed: int) -> u2a.Example:
        """Decode, shorten, and standardise as the recipe says.

        Raises:
            BadSample: see `u2a_plugin_features.decode.decode_vectors`; also values far beyond ``std``.
        """
        values_TF = shorten(decode_vectors(member, self.size), self.longest)
        if self.mean is None and self.std is None:
            return {"values": torch.from_numpy(values_TF.astype(np.float32))}
        mean, std = np.asarray(self.mean or 0.0, np.float64), np.asarray(self.std or 1.0, np.float64)
        scaled_TF = (values_TF - mean) / std
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
