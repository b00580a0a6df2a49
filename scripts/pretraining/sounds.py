"""Sounds for pretraining the quickstart's audio encoder: horn signals that its task does not have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from u2a_quickstart.audio import Array, Signal, blasts, horn


def _pitch(curve: object) -> Signal:
    def signal(rng: np.random.Generator, t: Array) -> tuple[Array, Array]:
        return rng.uniform(6, 14) * curve(rng, t), np.ones_like(t)  # type: ignore[operator]

    return signal


def _loudness(curve: object) -> Signal:
    def signal(rng: np.random.Generator, t: Array) -> tuple[Array, Array]:
        return np.zeros_like(t), curve(rng, t)  # type: ignore[operator]

    return signal


def _uneven(first: float) -> Signal:
    return _loudness(lambda rng, t: ((t < first) | (t > first + 0.2)).astype(float))


SIGNALS: Mapping[str, Signal] = {
    "steady": _loudness(lambda rng, t: np.ones_like(t)),
    "fall": _pitch(lambda rng, t: -t),
    "step_up": _pitch(lambda rng, t: 1.0 * (t > rng.uniform(0.4, 0.6))),
    "arch": _pitch(lambda rng, t: np.sin(np.pi * t)),
    "valley": _pitch(lambda rng, t: -np.sin(np.pi * t)),
    "up_and_back": _pitch(lambda rng, t: 0.8 * ((t > 0.33) & (t < 0.67))),
    "stairs": _pitch(lambda rng, t: np.floor(4 * t) / 4),
    "late_rise": _pitch(lambda rng, t: np.maximum(0, 2 * t - 1)),
    "late_fall": _pitch(lambda rng, t: -np.maximum(0, 2 * t - 1)),
    "triple": _loudness(lambda rng, t: blasts(t * 1.499, 2, rng.uniform(0.3, 0.5))),
    "quick": _loudness(lambda rng, t: (t * 6 % 1 < 0.5).astype(float)),
    "long_short": _uneven(0.6),
    "short_long": _uneven(0.2),
    "swell": _loudness(lambda rng, t: t**1.5),
    "fade": _loudness(lambda rng, t: (1 - t) ** 1.5),
    "tremolo": _loudness(lambda rng, t: 0.55 + 0.45 * np.sin(2 * np.pi * rng.uniform(3.5, 6) * t)),
}


def clip(seed: int) -> tuple[Array, int]:
    """One second at 16 kHz, float (16000,), and the number of its signal."""
    rng = np.random.default_rng([2, seed])
    signal = int(rng.integers(len(SIGNALS)))
    return horn(rng, list(SIGNALS.values())[signal]), signal
