"""A Python caller's wave as WAV bytes; reading is `u2a.media.sounds`, which the gallery uses as well."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile

from u2a.errors import BadSample
from u2a.media.sounds import MAX_CHANNELS, check_sound, decode_mono

__all__ = ["decode_mono", "encode_wav"]


#: Full scale of the integers that sounds are written in, and the value of silence.
_INTEGERS = {"int16": (1 << 15, 0), "int32": (1 << 31, 0), "uint8": (1 << 7, 1 << 7)}
#: Floats beyond full scale are clipped sounds; so far beyond they are integers by another name.
_LOUDEST = 10


def encode_wav(value: Any) -> bytes:
    """A pair (wave, rate in Hz) as 32-bit float WAV; or a sound of Hugging Face ``datasets``.

    The wave is an array or tensor [T] or [channels, T]: float in -1..1, or int16, int32 or uint8 as files hold
    them, which is divided by their full scale.

    Raises:
        BadSample: another type or shape, or floats far beyond 1.
    """
    value = _pair(value)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise BadSample("audio must be a pair (wave, rate in Hz)")
    wave, rate = np.asarray(value[0]), int(value[1])
    if wave.ndim not in (1, 2) or not wave.size:
        raise BadSample(f"a wave must be [T] or [channels, T], not {list(wave.shape)}")
    if wave.ndim == 2 and wave.shape[0] > MAX_CHANNELS:
        raise BadSample(f"a wave of {wave.shape[0]} channels: it must be [channels, T], not [T, channels]")
    wave = _floats(wave)
    check_sound(rate, 1 if wave.ndim == 1 else len(wave))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.T, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def _pair(value: Any) -> Any:
    """The wave and the rate of what ``datasets`` gives for a sound: a dict, or a decoder in newer versions."""
    if hasattr(value, "get_all_samples"):
        samples = value.get_all_samples()
        return samples.data, samples.sample_rate
    if isinstance(value, Mapping) and {"array", "sampling_rate"} <= value.keys():
        return value["array"], value["sampling_rate"]
    return value


def _floats(wave: np.ndarray) -> np.ndarray:
    if wave.dtype.name in _INTEGERS:
        scale, silence = _INTEGERS[wave.dtype.name]
        return ((wave.astype(np.float64) - silence) / scale).astype(np.float32)
    if not np.issubdtype(wave.dtype, np.floating):
        raise BadSample(f"a wave must be float in -1..1, int16, int32 or uint8, not {wave.dtype}")
    if (peak := np.abs(wave).max()) > _LOUDEST:
        raise BadSample(
            f"a wave of floats must be in -1..1, not as large as {peak:.6g}; give integers as they are, or "
            "divide them by their full scale (int16: 32768)"
        )
    return wave.astype(np.float32)
