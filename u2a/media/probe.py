"""What a file is, told from its bytes, and a small picture of it. Knows file formats, not modalities."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from u2a.errors import BadSample
from u2a.media.containers import chosen_stream, open_container
from u2a.media.frames import pixel_shape, upright
from u2a.media.pictures import decode_rgb
from u2a.media.quiet import no_warnings
from u2a.media.sounds import decode_mono
from u2a.media.texts import decode_text

if TYPE_CHECKING:
    from av import AudioStream, VideoFrame, VideoStream
    from av.container import InputContainer

#: Sound is drawn from its first seconds.
MAX_SECONDS = 30.0
FRAMES = 3
INK, PAPER, FAINT = (38, 70, 83), (255, 255, 255), (232, 236, 239)


@dataclass(frozen=True)
class Facts:
    """What a member is.

    Attributes:
        format: ``image``, ``video``, ``audio``, ``text`` or ``unknown``.
        numbers: its measures by name and unit, e.g. ``{"seconds": 2.0, "rate (Hz)": 16000}``.
    """

    format: str
    numbers: dict[str, float] = field(default_factory=dict)


def probe(data: bytes) -> Facts:
    """Measure a file without decoding more than its headers.

    Raises:
        BadSample: it looks like a picture, but is damaged.
    """
    if size := _image_size(data):
        return Facts("image", {"width (px)": size[0], "height (px)": size[1]})
    if numbers := _video_numbers(data):
        return Facts("video", numbers)
    if numbers := _audio_numbers(data):
        return Facts("audio", numbers)
    text = _text(data)
    if text is None:
        return Facts("unknown", {})
    return Facts("text", {"characters": len(text), "words": len(text.split())})


def picture(data: bytes, width: int) -> Image.Image | str:
    """A small picture of a file: the image, frames of a video over its sound, a waveform; a text is itself.

    Raises:
        BadSample: it cannot be decoded.
    """
    facts = probe(data)
    if facts.format == "text":
        return _text(data) or ""
    if facts.format == "image":
        return _thumbnail(data, width)
    if facts.format == "audio":
        return draw_wave(decode_mono(data, MAX_SECONDS)[0], width)
    if facts.format == "video":
        return _film(data, width)
    raise BadSample("is no format that can be shown")


def _image_size(data: bytes) -> tuple[int, int] | None:
    try:
        with no_warnings(), Image.open(io.BytesIO(data)) as image:
            return image.size
    except Exception:  # a damaged header can raise nearly anything inside a codec
        return None


def _video_numbers(data: bytes) -> dict[str, float] | None:
    try:
        with open_container(data, "video") as container:
            stream = chosen_stream(container, "video")
            numbers = {
                "seconds": _seconds(container, stream),
                "frames a second": float(stream.average_rate or 0),
                "width (px)": float(stream.width),
                "height (px)": float(stream.height),
            }
            if container.streams.audio:
                numbers["sound (Hz)"] = float(container.streams.audio[0].sample_rate)
            return numbers
    except BadSample:
        return None


def _audio_numbers(data: bytes) -> dict[str, float] | None:
    try:
        with open_container(data, "audio") as container:
            stream = chosen_stream(container, "audio")
            return {"seconds": _seconds(container, stream), "sound (Hz)": float(stream.sample_rate)}
    except BadSample:
        return None


def _seconds(container: InputContainer, stream: VideoStream | AudioStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6


def _text(data: bytes) -> str | None:
    try:
        text = decode_text(data)
    except BadSample:
        return None
    return None if "\0" in text else text


def _thumbnail(data: bytes, width: int) -> Image.Image:
    shown = decode_rgb(data, lambda size: min(1.0, 2 * width / min(size)))
    shown.thumbnail((width, width))
    return shown


def _film(data: bytes, width: int) -> Image.Image:
    each = width // FRAMES
    with open_container(data, "video") as container:
        frames = [Image.fromarray(upright(frame, pixel_shape(container))) for frame in _spread(container)]
        sound = bool(container.streams.audio)
    if not frames:
        raise BadSample("has no frames")
    strip = Image.new("RGB", (width, each), PAPER)
    for n, frame in enumerate(frames):
        strip.paste(ImageOps.fit(frame, (each - 1, each)), (n * each, 0))
    if not sound:
        return strip
    wave = draw_wave(decode_mono(data, MAX_SECONDS)[0], width)
    both = Image.new("RGB", (width, strip.height + wave.height + 2), PAPER)
    both.paste(strip, (0, 0))
    both.paste(wave, (0, strip.height + 2))
    return both


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


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows many scripts."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
