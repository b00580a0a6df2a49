"""The beginning of a sound, from any common file, as a mono waveform."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from u2a.errors import BadSample, NoContent
from u2a.media import mp3, ogg
from u2a.media.containers import chosen_stream, open_container
from u2a.media.partial import judge_loss
from u2a.media.wav import repaired

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

MAX_RATE = 384_000
MAX_CHANNELS = 64
_PRIMING = 0.15  # seconds that a codec may need to begin and to end, and that are in the declared length


def decode_mono(member: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """At most the first ``seconds``: float32 [T] in -1..1, the mean of the channels, and the rate in Hz.

    Nothing beyond ``seconds`` is decoded, so a small file that inflates to hours costs no memory. Damaged parts
    are left out, see `u2a.media.partial.judge_loss`.

    Raises:
        BadSample: empty, undecodable, less than 95 % of it there, without sound, with an implausible rate or
            values that are no numbers.
    """
    if not member:
        raise BadSample("empty file")
    parts: list[tuple[np.ndarray, int]] = []
    for link in ogg.links(member):
        wave_CT, rate = _with_soundfile(link, seconds) or _with_ffmpeg(link, seconds)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused below
            parts.append((wave_CT.mean(axis=0, dtype=np.float32), rate))
        if sum(len(wave) / rate for wave, rate in parts) > seconds:
            break
    rate = parts[0][1]
    mono = parts[0][0] if len(parts) == 1 else joined(parts, rate)[: int(seconds * rate) + 1]
    if not mono.size:
        raise NoContent("the sound has zero length")
    if not np.isfinite(mono).all():
        raise BadSample("the sound has samples that are not finite numbers")
    return mono, rate


class _Bytes(io.BytesIO):
    """libsndfile seeks to before the beginning of damaged files; an exception there would be a traceback on the
    terminal, and nothing else."""

    def seek(self, place: int, whence: int = 0) -> int:
        """As of any file, but stays where it is instead of raising."""
        try:
            return super().seek(place, whence)
        except ValueError:
            return self.tell()


def _with_soundfile(member: bytes, seconds: float) -> tuple[np.ndarray, int] | None:
    """None where libsndfile does not know the format, or meets damage, which FFmpeg passes over."""
    import soundfile

    member, declared = repaired(member)
    try:
        with soundfile.SoundFile(_Bytes(member)) as sound:
            check_sound(sound.samplerate, sound.channels)
            rate, frames = sound.samplerate, int(seconds * sound.samplerate) + 1
            wave_CT = sound.read(frames, dtype="float32", always_2d=True).T
            whole = min(sound.frames if declared is None else round(declared * rate), frames)
            container = sound.format
    except soundfile.LibsndfileError:
        return None
    have, wanted = wave_CT.shape[1] / rate, whole / rate
    counted = _counted(member, container, seconds)
    if counted is not None:
        decoded = have
        have, wanted = counted
        if have > decoded + _PRIMING:  # of MP3s that were joined it reads the first
            return None
    if declared or counted or wave_CT.shape[1]:
        judge_loss(have, wanted, "sound")
    return wave_CT, rate


def _with_ffmpeg(member: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """The channels are averaged here: their number may change in mid-stream, as may the rate."""
    with open_container(member, "audio") as container:
        parts, lost = _decoded(container, seconds)
        if not parts and not lost:
            raise NoContent("the sound has zero length")
        if not parts:
            raise BadSample("cannot be decoded as audio: every packet is damaged")
        have = sum(len(wave) / rate for wave, rate in parts)
        whole = _seconds_of(container, have, len(parts), lost)
        counted = _counted(member, container.format.name, seconds)
    there, wanted = counted or (have, min(whole, max(seconds, have)))
    judge_loss(there, wanted, "sound")
    rate = parts[0][1]
    return joined(parts, rate)[None, : int(seconds * rate) + 1], rate


def _counted(member: bytes, container: str, seconds: float) -> tuple[float, float] | None:
    """Seconds that are there and that there should be, by frames or pages where decoders do not tell."""
    if container.lower() == "mp3":
        return mp3.seconds_there(member, seconds)
    return ogg.seconds_there(member, seconds) if container.lower() == "ogg" else None


def _decoded(container: InputContainer, seconds: float) -> tuple[list[tuple[np.ndarray, int]], int]:
    """Mono parts of at least ``seconds``, and how many packets could not be decoded on the way."""
    from av.error import FFmpegError

    parts, lost, have = [], 0, 0.0
    for packet in container.demux(chosen_stream(container, "audio")):
        try:
            frames = packet.decode()
        except FFmpegError:
            lost += 1
            continue
        for frame in frames:
            check_sound(frame.sample_rate, len(frame.layout.channels))
            parts.append(_mono(frame))
            have += frame.samples / frame.sample_rate
        if have > seconds:
            break
    return parts, lost


def _seconds_of(container: InputContainer, have: float, parts: int, lost: int) -> float:
    """How long the sound is: as declared, where that is exact; a lost packet is as long as any other."""
    stream: Any = chosen_stream(container, "audio")
    declared = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if declared and container.format.name in ("flac", "wav", "aiff"):
        return declared
    counted = have + lost * have / parts
    return max(counted, declared - _PRIMING) if "mov" in container.format.name else counted


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

            from u2a.media.filters import resample

            wave = resample(torch.from_numpy(wave), own, rate).numpy()
        waves.append(wave)
    return np.concatenate(waves)


def check_sound(rate: int, channels: int) -> None:
    """Refuse implausible numbers.

    Raises:
        BadSample: says which.
    """
    if not 1000 <= rate <= MAX_RATE:
        raise BadSample(f"a sampling rate of {rate} Hz is not between 1000 and {MAX_RATE}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadSample(f"{channels} channels are not between 1 and {MAX_CHANNELS}")
