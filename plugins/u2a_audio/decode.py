"""A Python caller's wave as WAV bytes; reading is `u2a.media.sounds`, which the gallery uses as well."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile

from u2a.errors import BadSample
from u2a.media.sounds import MAX_CHANNELS, check_sound, decode_mono

__all__ = ["decode_mono", "encode_wav"]


def encode_wav(value: Any) -> bytes:
    """A pair (wave, rate in Hz), the wave a float array or tensor [T] or [channels, T], as 32-bit float WAV.

    Raises:
        BadSample: another type or shape.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise BadSample("audio must be a pair (wave, rate in Hz)")
    wave, rate = np.asarray(value[0]), int(value[1])
    if wave.ndim not in (1, 2) or not wave.size or not np.issubdtype(wave.dtype, np.floating):
        raise BadSample(f"a wave must be float [T] or [channels, T], not {wave.dtype} {list(wave.shape)}")
    if wave.ndim == 2 and wave.shape[0] > MAX_CHANNELS:
        raise BadSample(f"a wave of {wave.shape[0]} channels: it must be [channels, T], not [T, channels]")
    check_sound(rate, 1 if wave.ndim == 1 else len(wave))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.T.astype(np.float32), rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()
