"""What a request may hold, looked at before anything is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from u2a.errors import BadSample

if TYPE_CHECKING:
    from av.container import InputContainer

#: A film may hold so many pixels in all as so many pictures of the largest size.
PICTURES_A_FILM = 200
_PICTURES = frozenset({"jpg", "png"})


@dataclass(frozen=True)
class Limits:
    """What one request may hold.

    Attributes:
        body: bytes of a request's body.
        samples: samples of a request.
        pixels: of a picture, or of one of a film's frames.
        seconds: of a sound or a film.
        frames: of a film.
        text: characters.
    """

    body: int = 32 * 2**20
    samples: int = 64
    pixels: int = 50_000_000
    seconds: float = 600.0
    frames: int = 20_000
    text: int = 100_000


class TooMuch(BadSample):
    """A member that is larger than this service allows."""


def check_member(member: bytes, extensions: Sequence[str], limits: Limits) -> None:
    """Hold a member's headers and packets against the limits; no pixel and no sound is decoded.

    What cannot be told passes: the preprocessor says what is wrong with it.

    Args:
        member: the file's bytes.
        extensions: what the modality reads, see `u2a.modality.ModalitySpec.extensions`.

    Raises:
        TooMuch: says what, and the limit.
    """
    if "txt" in extensions:
        return _check_text(member, limits)
    if not _PICTURES.isdisjoint(extensions):
        _check_picture(member, limits)
    if "wav" in extensions:
        _check_media(member, "audio", limits)
    elif "mp4" in extensions:
        _check_media(member, "video", limits)
    return None


def _check_text(member: bytes, limits: Limits) -> None:
    from u2a.media.texts import decode_text

    length = len(decode_text(member)) if len(member) > limits.text else 0
    if length > limits.text:
        raise TooMuch(f"a text of {length} characters; at most {limits.text} are allowed")


def _check_picture(member: bytes, limits: Limits) -> None:
    from PIL import Image

    from u2a.media.pictures import FORMATS
    from u2a.media.quiet import no_warnings

    try:
        Image.init()
        formats = [name for name in FORMATS if name in Image.OPEN]
        with no_warnings(), Image.open(io.BytesIO(member), formats=formats) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise TooMuch(f"a picture of more than {limits.pixels} pixels, which is the limit") from None
    except Exception:  # a damaged header can raise nearly anything inside a codec; the preprocessor tells
        return
    if width * height > limits.pixels:
        raise TooMuch(f"a picture of {width} x {height} pixels; at most {limits.pixels} are allowed")


def _check_media(member: bytes, kind: Literal["audio", "video"], limits: Limits) -> None:
    import av

    from u2a.media.containers import open_container

    if kind == "audio" and (seconds := _seconds_of_plain(member)) is not None:
        return _check_seconds(seconds, limits)
    try:
        with open_container(member, kind) as container:
            _check_packets(container, limits)
    except TooMuch:
        raise
    except (BadSample, av.error.FFmpegError):  # no such stream, or damaged: the preprocessor tells
        return None


def _seconds_of_plain(member: bytes) -> float | None:
    """Of a sound that libsndfile knows, much quicker than by its packets; None for all others.

    Only what is asked for is decoded of a sound, so that a header's lie costs nothing.
    """
    import soundfile

    from u2a.media.wav import repaired

    try:
        about = soundfile.info(io.BytesIO(repaired(member)[0]))
    except soundfile.LibsndfileError:
        return None
    return about.frames / about.samplerate if about.samplerate else None


def _check_seconds(seconds: float, limits: Limits) -> None:
    if seconds > limits.seconds:
        raise TooMuch(f"longer than {limits.seconds:g} seconds, which is the limit")


def _check_packets(container: InputContainer, limits: Limits) -> None:
    """By the packets, not by what the header claims: they are what would be decoded."""
    frames, most = 0, limits.frames
    for stream in container.streams.video:
        size = stream.codec_context.width * stream.codec_context.height if stream.codec_context else 0
        if size > limits.pixels:
            raise TooMuch(f"frames of {size} pixels; at most {limits.pixels} are allowed")
        most = min(most, PICTURES_A_FILM * limits.pixels // max(size, 1))
    begin: dict[int, float] = {}
    for packet in container.demux(*container.streams.video, *container.streams.audio):
        if packet.stream.type == "video" and packet.size:
            frames += 1
            if frames > most:
                raise TooMuch(f"a film of more than {most} frames of this size; that is the limit")
        _check_time(packet, begin, limits)


def _check_time(packet: Any, begin: dict[int, float], limits: Limits) -> None:
    if packet.pts is None or packet.time_base is None:
        return
    time = float(packet.pts * packet.time_base)
    _check_seconds(time - begin.setdefault(packet.stream.index, time), limits)
