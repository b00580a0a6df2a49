"""Measures and small pictures of pictures, films and sounds, for plugins that describe and show members."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from u2a.errors import BadSample
from u2a.media.containers import chosen_stream, open_container
from u2a.media.frames import pixel_shape, upright
from u2a.media.pictures import decode_rgb
from u2a.media.quiet import no_warnings
from u2a.media.sounds import decode_mono

if TYPE_CHECKING:
    from av import AudioStream, VideoFrame, VideoStream
    from av.container import InputContainer

#: Sound is drawn from its first seconds.
MAX_SECONDS = 30.0
FRAMES = 3
INK, PAPER, FAINT = (38, 70, 83), (255, 255, 255), (232, 236, 239)


def image_numbers(data: bytes) -> dict[str, float]:
    """Width and height of a picture, from its header.

    Raises:
        BadSample: it is none.
    """
    try:
        with no_warnings(), Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except Exception:  # a damaged header can raise nearly anything inside a codec
        raise BadSample("is no picture, or its header is damaged") from None
    return {"width (px)": width, "height (px)": height}


def film_numbers(data: bytes) -> dict[str, float]:
    """Seconds, rates and size of a film, from its headers.

    Raises:
        BadSample: it is none.
    """
    with open_container(data, "video") as container:
        stream = chosen_stream(container, "video")
        numbers = {
            "seconds": _seconds(container, stream),
            "frames a second": float(stream.average_rate or 0),
            "width (px)": float(stream.width),
            "height (px)": float(stream.height),
        }
        with suppress(BadSample):  # without sound, or without a decoder for it
            numbers["sound (Hz)"] = float(chosen_stream(container, "audio").sample_rate)
        return numbers


def seconds_of_sound(data: bytes) -> float:
    """How long a sound or the sound of a film is, from its headers.

    Raises:
        BadSample: there is none.
    """
    with open_container(data, "audio") as container:
        return _seconds(container, chosen_stream(container, "audio"))


def sound_numbers(data: bytes) -> dict[str, float]:
    """Seconds and rate of a sound, once its first `MAX_SECONDS` were decoded, so that damage shows.

    Raises:
        BadSample: there is none, or it is damaged.
    """
    with open_container(data, "audio") as container:
        stream = chosen_stream(container, "audio")
        numbers = {"seconds": _seconds(container, stream), "sound (Hz)": float(stream.sample_rate)}
    decode_mono(data, MAX_SECONDS)
    return numbers


def _seconds(container: InputContainer, stream: VideoStream | AudioStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6


def thumbnail(data: bytes, width: int) -> Image.Image:
    """A small copy of a picture.

    Raises:
        BadSample: it cannot be decoded.
    """
    shown = decode_rgb(data, lambda size: min(1.0, 2 * width / min(size)))
    shown.thumbnail((width, width))
    return shown


def film(data: bytes, width: int) -> Image.Image:
    """Some frames of a film beside each other.

    Raises:
        BadSample: they cannot be decoded.
    """
    each = width // FRAMES
    with open_container(data, "video") as container:
        frames = [Image.fromarray(upright(frame, pixel_shape(container))) for frame in _spread(container)]
    if not frames:
        raise BadSample("has no frames")
    strip = Image.new("RGB", (width, each), PAPER)
    for n, frame in enumerate(frames):
        strip.paste(ImageOps.fit(frame, (each - 1, each)), (n * each, 0))
    return strip


def wave(data: bytes, width: int) -> Image.Image:
    """The first `MAX_SECONDS` of a sound, drawn.

    Raises:
        BadSample: it cannot be decoded.
    """
    return draw_wave(decode_mono(data, MAX_SECONDS)[0], width)


def _spread(container: InputContainer) -> Iterator[VideoFrame]:
    """Up to FRAMES frames over the first MAX_SECONDS of a video."""
    total = (container.duration or 0) / 1e6
    wanted = [min(total, MAX_SECONDS) * (n + 0.5) / FRAMES for n in range(FRAMES)]
    for frame in container.decode(chosen_stream(container, "video")):
        while wanted and (frame.time is None or frame.time >= wanted[0]):
            wanted.pop(0)
            yield frame
        if not wanted:
            return


def draw_wave(samples: NDArray[np.float32], width: int, height: int = 36) -> Image.Image:
    """The envelope of a waveform, scaled to its own peak."""
    image = Image.new("RGB", (width, height), FAINT)
    draw = ImageDraw.Draw(image)
    peak = float(np.abs(samples).max()) or 1.0
    middle = (height - 1) / 2
    for x, part in enumerate(np.array_split(samples, width)):
        if len(part):
            low, high = (middle - float(v) / peak * middle for v in (part.max(), part.min()))
            draw.line([(x, low), (x, high)], fill=INK)
    return image
