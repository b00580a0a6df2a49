"""The beginning of a sound, from any common file, as a mono waveform; and back to WAV."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile

from u2a.errors import BadSample, NoContent
from u2a.media.containers import open_container

MAX_RATE = 384_000
MAX_CHANNELS = 64


def decode_mono(member: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """At most the first ``seconds``: float32 [T] in -1..1, the mean of the channels, and the rate in Hz.

    Nothing beyond ``seconds`` is decoded, so a small file that inflates to hours costs no memory.

    Raises:
        BadSample: empty, undecodable, without sound, with an implausible rate or values that are no numbers.
    """
    if not member:
        raise BadSample("empty file")
    decoded = _with_soundfile(member, seconds)
    wave_CT, rate = decoded if decoded is not None else _with_ffmpeg(member, seconds)
    if not wave_CT.size:
        raise NoContent("the sound has zero length")
    mono = wave_CT.mean(axis=0, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise BadSample("the sound has samples that are not finite numbers")
    return mono, rate


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
    _check(rate, 1 if wave.ndim == 1 else len(wave))
    buffer = io.BytesIO()
    soundfile.write(buffer, wave.T.astype(np.float32), rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def _with_soundfile(member: bytes, seconds: float) -> tuple[np.ndarray, int] | None:
    """None where libsndfile does not know the format."""
    try:
        with soundfile.SoundFile(io.BytesIO(member)) as sound:
            _check(sound.samplerate, sound.channels)
            frames = int(seconds * sound.samplerate) + 1
            return sound.read(frames, dtype="float32", always_2d=True).T, sound.samplerate
    except soundfile.LibsndfileError:
        return None


def _with_ffmpeg(member: bytes, seconds: float) -> tuple[np.ndarray, int]:
    import av

    with open_container(member, "audio") as container:
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        _check(rate, stream.codec_context.channels)
        planar = av.AudioResampler(format="fltp")
        wanted, chunks = int(seconds * rate) + 1, []
        for frame in container.decode(stream):
            chunks += [part.to_ndarray() for part in planar.resample(frame)]
            wanted -= frame.samples
            if wanted <= 0:
                break
        if not chunks:
            raise NoContent("the sound has zero length")
        return np.concatenate(chunks, axis=1)[:, : int(seconds * rate) + 1], rate


def _check(rate: int, channels: int) -> None:
    if not 1000 <= rate <= MAX_RATE:
        raise BadSample(f"a sampling rate of {rate} Hz is not between 1000 and {MAX_RATE}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadSample(f"{channels} channels are not between 1 and {MAX_CHANNELS}")
