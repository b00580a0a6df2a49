"""Optional re-encoding while packing, so that shards hold what the encoders can use and no more.

What a file is, is told by its extension and content, never by the name of a modality. Nothing is ever made
larger: a smaller picture, a lower rate or a slower video stays as it is. The same bytes in give the same out.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

from u2a.errors import BadSample, NoContent
from u2a.media.containers import chosen_stream, open_container
from u2a.media.frames import pixel_shape, upright

if TYPE_CHECKING:
    from av import AudioStream, VideoFrame
    from av.container import InputContainer, OutputContainer

PICTURES = ("jpg", "jpeg", "jpe", "jfif", "mpo", "avif", "png", "webp", "bmp", "tif", "tiff")
SOUNDS = ("wav", "flac", "ogg", "opus", "mp3", "m4a", "aac", "aif", "aiff")
VIDEOS = (
    "mp4",
    "m4v",
    "mov",
    "mkv",
    "webm",
    "avi",
    "flv",
    "ts",
    "mts",
    "m2ts",
    "mpg",
    "mpeg",
    "vob",
    "3gp",
    "3g2",
    "wmv",
    "asf",
    "ogv",
)
#: Sound that an MP4 file takes as it is.
_KEPT_SOUND = ("aac", "mp3", "mp3float")
#: Matrix and range of re-encoded films, as FFmpeg numbers them.
BT709, LIMITED = 1, 1
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True)
class Recode:
    """What to re-encode; None leaves that kind of file as it is.

    Attributes:
        image_side: shorter side of pictures in pixels, as JPEG of quality 95.
        audio_rate: rate of sounds in Hz, mono, as 16-bit FLAC; and of the sound in re-encoded videos.
        video_height: height of videos in pixels; as H.264 in MP4 with their sound.
        video_fps: frames per second of videos.
    """

    image_side: int | None = None
    audio_rate: int | None = None
    video_height: int | None = None
    video_fps: float | None = None

    def __bool__(self) -> bool:
        return any((self.image_side, self.audio_rate, self.video_height, self.video_fps))

    def __call__(self, extension: str, member: bytes, allowed: Collection[str]) -> tuple[str, bytes]:
        """The file to store and its extension, one of ``allowed`` (what its modalities read).

        Raises:
            BadSample: the file cannot be decoded.
        """
        if extension in PICTURES and self.image_side:
            return _picture(extension, member, self.image_side, allowed)
        if extension in SOUNDS and self.audio_rate:
            return _sound(extension, member, self.audio_rate, allowed)
        if extension in VIDEOS and (self.video_height or self.video_fps) and "mp4" in allowed:
            return _video(extension, member, self)
        return extension, member


def _picture(extension: str, member: bytes, side: int, allowed: Collection[str]) -> tuple[str, bytes]:
    from PIL import Image

    from u2a.media.pictures import decode_rgb, open_picture, picture_errors, strip

    with picture_errors(member):
        stored = open_picture(strip(member)[0])
    if min(stored.size) <= side or stored.mode not in ("L", "P", "RGB", "RGBA", "LA", "CMYK", "1"):
        return extension, member  # small enough, or values that JPEG would destroy (16-bit depth)
    image = decode_rgb(member)
    scale = side / min(image.size)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    found = next((e for e in ("jpg", "jpeg") if e in allowed), None)
    if found:
        small.save(out, format="JPEG", quality=95)
    else:
        small.save(out, format="PNG")
    return found or "png", out.getvalue()


def _sound(extension: str, member: bytes, rate: int, allowed: Collection[str]) -> tuple[str, bytes]:
    import numpy as np
    import soundfile

    with open_container(member, "audio") as container:
        stream = chosen_stream(container, "audio")
        context = stream.codec_context
        rate = min(rate, context.sample_rate)
        kind = "flac" if "flac" in allowed else "wav"
        if extension == kind and context.sample_rate == rate and context.channels == 1:
            return extension, member
        parts = [frame.to_ndarray()[0] for frame in _resampled(container, stream, "s16", rate)]
    if not parts:
        return extension, member  # nothing in it: for the check to say
    out = io.BytesIO()
    soundfile.write(out, np.concatenate(parts), rate, format=kind.upper(), subtype="PCM_16")
    return kind, out.getvalue()


def _resampled(container: InputContainer, stream: AudioStream, form: str, rate: int) -> Iterator[Any]:
    import av

    resampler = av.AudioResampler(format=form, layout="mono", rate=rate)
    for frame in container.decode(stream):
        frame.pts = None
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _video(extension: str, member: bytes, wanted: Recode) -> tuple[str, bytes]:
    import av

    out = io.BytesIO()
    with open_container(member, "video") as container:
        source = chosen_stream(container, "video")
        if not _is_larger(source, wanted):
            return extension, member
        with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as target:
            packets = _encode_frames(container, target, wanted)
            first = next(packets, None)  # opens the video stream, so that it comes first in the file
            if first is None:
                raise BadSample("the video has no frames")
            sound = _sound_writer(member, target, wanted.audio_rate)
            target.mux(first)
            for packet in packets:
                target.mux(packet)
            for packet in sound:
                target.mux(packet)
    return "mp4", out.getvalue()


def _is_larger(stream: Any, wanted: Recode) -> bool:
    tall = wanted.video_height is not None and stream.codec_context.height > wanted.video_height
    rate = stream.average_rate or stream.guessed_rate
    return tall or (wanted.video_fps is not None and rate is not None and rate > wanted.video_fps + 0.01)


def _encode_frames(container: InputContainer, target: OutputContainer, wanted: Recode) -> Iterator[Any]:
    """H.264 packets of upright frames, thinned to the wanted rate, with the times they had."""
    import av

    stream, encoder, last = chosen_stream(container, "video"), None, -1
    base = Fraction(1, 90_000)
    for frame in container.decode(stream):
        if frame.time is None:
            continue
        tick = round(frame.time / base)
        part = floor(frame.time * wanted.video_fps + 0.01) if wanted.video_fps else tick
        if part <= last:
            continue  # one frame for each 1 / video_fps of a second
        last = part
        frame = av.VideoFrame.from_ndarray(upright(frame, pixel_shape(container)), "rgb24")
        size = _even_size(frame, wanted.video_height)
        if encoder is None:
            encoder = _add_h264(target, size, base, stream.average_rate, wanted.video_fps)
        picture = frame.reformat(
            *size, format="yuv420p", interpolation="BICUBIC", dst_colorspace=BT709, dst_color_range=LIMITED
        )
        picture.pts, picture.time_base, picture.pict_type = tick, base, 0
        yield from encoder.encode(picture)
    if encoder is not None:
        yield from encoder.encode(None)


def _even_size(frame: VideoFrame, height: int | None) -> tuple[int, int]:
    """H.264's chroma wants even sides."""
    tall = min(height or frame.height, frame.height)
    wide = frame.width * tall / frame.height
    return max(2, round(wide / 2) * 2), max(2, tall // 2 * 2)


def _add_h264(
    target: OutputContainer, size: tuple[int, int], base: Fraction, rate: Any, fps: float | None
) -> Any:
    import av

    known = "libx264" in av.codecs_available
    # A constant quantiser: rate control does not give the same bytes twice.
    options = {"preset": "veryfast", "qp": "23"} if known else {"qscale": "3"}
    chosen = Fraction(fps or rate or 25).limit_denominator(1001)
    stream: Any = target.add_stream("libx264" if known else "mpeg4", rate=chosen, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.colorspace, stream.codec_context.color_range = BT709, LIMITED  # what the frames are
    stream.time_base = stream.codec_context.time_base = base
    stream.codec_context.thread_count = 1  # the same bytes on any number of cores
    return stream


def _sound_writer(member: bytes, target: OutputContainer, rate: int | None) -> Iterator[Any]:
    """Packets of the video's sound: as it is if MP4 takes it and no rate is wanted, else as AAC."""
    try:
        with open_container(member, "audio") as container:
            source = chosen_stream(container, "audio")
            if rate is None and source.codec_context.name in _KEPT_SOUND:
                return _copied(member, target.add_stream_from_template(source))
            own = source.codec_context.sample_rate
    except NoContent:
        return iter(())
    chosen = max((r for r in _AAC_RATES if r <= min(rate or own, own)), default=_AAC_RATES[0])
    return _as_aac(member, target.add_stream("aac", rate=chosen, layout="mono"), chosen)


def _copied(member: bytes, stream: Any) -> Iterator[Any]:
    with open_container(member, "audio") as container:
        for packet in container.demux(chosen_stream(container, "audio")):
            if packet.dts is not None:
                packet.stream = stream
                yield packet


def _as_aac(member: bytes, stream: Any, rate: int) -> Iterator[Any]:
    with open_container(member, "audio") as container:
        for frame in _resampled(container, chosen_stream(container, "audio"), "fltp", rate):
            yield from stream.encode(frame)
    yield from stream.encode(None)
