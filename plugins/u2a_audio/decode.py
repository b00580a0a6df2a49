"""The beginning of a sound, from any common file, as a mono waveform; and back to WAV."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from av.error import FFmpegError

from u2a.errors import BadSample, NoContent
from u2a.media.containers import chosen_stream, open_container

if TYPE_CHECKING:
    from av import AudioFrame

MAX_RATE = 384_000
MAX_CHANNELS = 64
MOST_LOST = 0.05  # of the packets of a sound that is used all the same
_CHUNKS = (b"LIST", b"fact", b"cue ", b"bext", b"id3 ")  # what may follow a WAV's sound


def decode_mono(member: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """At most the first ``seconds``: float32 [T] in -1..1, the mean of the channels, and the rate in Hz.

    Nothing beyond ``seconds`` is decoded, so a small file that inflates to hours costs no memory.

    Raises:
        BadSample: empty, undecodable, without sound, with an implausible rate or values that are no numbers.
    """
    if not member:
        raise BadSample("empty file")
    decoded = _with_soundfile(_to_its_end(member), seconds)
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
    """The channels are averaged here: their number may change in mid-stream, as may the rate."""
    with open_container(member, "audio") as container:
        stream = chosen_stream(container, "audio")
        parts, lost, rate, have = [], 0, 0, 0
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except FFmpegError:
                lost += 1
                if not have:
                    raise
                continue
            for frame in frames:
                rate = rate or frame.sample_rate
                _check(frame.sample_rate, len(frame.layout.channels))
                parts.append(_mono(frame))
                have += frame.samples / frame.sample_rate
            if have > seconds:
                break
        if not parts:
            raise NoContent("the sound has zero length")
        # Every packet is about as long as any other: what is lost is counted in packets.
        if lost > MOST_LOST * (lost + len(parts)):
            share = len(parts) / (lost + len(parts))
            raise BadSample(f"only {share:.0%} of the sound can be decoded")
        return joined(parts, rate)[None, : int(seconds * rate) + 1], rate


def _mono(frame: AudioFrame) -> tuple[np.ndarray, int]:
    import av

    planar = av.AudioResampler(format="fltp")
    parts = [part.to_ndarray() for part in planar.resample(frame)]
    return np.concatenate(parts, axis=1).mean(axis=0, dtype=np.float32), frame.sample_rate


def joined(parts: Sequence[tuple[np.ndarray, int]], rate: int) -> np.ndarray:
    """Mono waves float [T] of several rates, one after another, all at ``rate`` Hz."""
    waves = []
    for own, group in groupby(parts, key=lambda part: part[1]):
        wave = np.concatenate([part for part, _ in group])
        if own != rate:
            import torch
            from torchaudio.functional import resample

            wave = resample(torch.from_numpy(wave), own, rate).numpy()
        waves.append(wave)
    return np.concatenate(waves)


def _to_its_end(member: bytes) -> bytes:
    """A WAV whose header says that it holds 0 bytes (the recorder lost power), with the true number."""
    at = member.find(b"data", 12, 4096) if member[:4] == b"RIFF" and member[8:12] == b"WAVE" else -1
    rest = len(member) - at - 8
    if at < 0 or member[at + 4 : at + 8] != bytes(4) or rest <= 0 or member[at + 8 : at + 12] in _CHUNKS:
        return member
    return member[: at + 4] + min(rest, 0xFFFFFFFF).to_bytes(4, "little") + member[at + 8 :]


def _check(rate: int, channels: int) -> None:
    if not 1000 <= rate <= MAX_RATE:
        raise BadSample(f"a sampling rate of {rate} Hz is not between 1000 and {MAX_RATE}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadSample(f"{channels} channels are not between 1 and {MAX_CHANNELS}")
