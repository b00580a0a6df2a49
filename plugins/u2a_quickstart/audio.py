"""The horn: its signal is the sign; pitch, timbre, onset, length, loudness and the wind say nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16000
SECONDS = 1.0

Array = NDArray[np.float64]
#: A signal maps time within the horn (0..1) to semitones above the base pitch and to loudness.
Signal = Callable[[np.random.Generator, Array], tuple[Array, Array]]


def blasts(t: Array, count: int, gap: float) -> Array:
    """Loudness of ``count`` blasts, each followed by silence for ``gap`` of its share of time."""
    return (t * (count - 1 + (1 - gap)) % 1 < 1 - gap).astype(float)


def _rise(rng: np.random.Generator, t: Array) -> tuple[Array, Array]:
    return float(rng.uniform(8, 14)) * t, np.ones_like(t)


def _double(rng: np.random.Generator, t: Array) -> tuple[Array, Array]:
    return np.zeros_like(t), blasts(t, 2, rng.uniform(0.25, 0.45))


def _warble(rng: np.random.Generator, t: Array) -> tuple[Array, Array]:
    return rng.uniform(2.5, 4) * np.sin(2 * np.pi * rng.uniform(3.5, 5.5) * t), np.ones_like(t)


def _step_down(rng: np.random.Generator, t: Array) -> tuple[Array, Array]:
    after = (t > rng.uniform(0.4, 0.6)).astype(float)
    return -float(rng.uniform(6, 10)) * after, np.ones_like(t)


SIGNALS: Mapping[str, Signal] = {
    "rise": _rise, "double": _double, "warble": _warble, "step_down": _step_down,
}  # fmt: skip


def horn(rng: np.random.Generator, signal: Signal) -> Array:
    """One second of a horn in the wind: float (16000,) in -1..1."""
    count = int(RATE * rng.uniform(0.7, 0.9) * SECONDS)
    start = rng.integers(0, int(RATE * SECONDS) - count + 1)
    semitones, loudness = signal(rng, np.linspace(0, 1, count))
    pitch = rng.uniform(250, 700) * 2 ** (semitones / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    slope = rng.uniform(0.5, 2)
    tone = sum(np.sin(k * phase) / k**slope * rng.uniform(0.4, 1) for k in range(1, 6))
    wave = np.zeros(int(RATE * SECONDS))
    wave[start : start + count] = tone * _softened(loudness)
    wave /= np.sqrt(np.mean(wave**2))
    wave += 10 ** (-rng.uniform(6, 26) / 20) * _wind(rng, len(wave))
    return wave / np.abs(wave).max() * rng.uniform(0.2, 0.95)


def _softened(loudness: Array, ramp: int = 320) -> Array:
    """A moving average over ``ramp`` samples (20 ms), silence beyond the ends: no clicks."""
    padded = np.concatenate([np.zeros(ramp), loudness, np.zeros(ramp)])
    total = np.cumsum(padded)
    middle = ramp + ramp // 2
    return (
        total[middle : middle + len(loudness)] - total[middle - ramp : middle - ramp + len(loudness)]
    ) / ramp


def _wind(rng: np.random.Generator, count: int) -> Array:
    """Noise whose power falls with frequency by a random law, at unit power."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** rng.uniform(0, 0.8)
    noise = np.fft.irfft(spectrum, count)
    return noise / np.sqrt(np.mean(noise**2))


def wav(rng: np.random.Generator, sign: str) -> bytes:
    """A WAV file (16 kHz, mono, 16 bits) of a horn that gives the sign as its signal."""
    out = io.BytesIO()
    soundfile.write(out, horn(rng, SIGNALS[sign]), RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()
