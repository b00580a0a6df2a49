"""Chosen frames of a video file, upright, decoding no more than needed; and frames back to a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from u2a.errors import BadSample
from u2a.media.containers import chosen_stream, open_container
from u2a.media.frames import pixel_shape, upright

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

#: Larger frames are refused before they are decoded.
MAX_PIXELS = 35_389_440  # 8K
MAX_RATE = 1000


def decode_frames(member: bytes, choose: Callable[[Sequence[int]], Sequence[int]]) -> list[np.ndarray]:
    """The frames that ``choose`` names, as uint8 [H, W, 3].

    Args:
        member: the file's bytes.
        choose: from the ascending times of all frames to ascending indices; an index may repeat.

    Raises:
        BadSample: no video stream, no frames, damaged, or frames that are too large.
    """
    with open_container(member, "video") as container:
        _check_size(container)
        times, keys = _scan(container)
        if not times:
            raise BadSample("the video has no frames")
        chosen = choose(times)
        found = _decode_at(container, [times[index] for index in chosen], keys)
    if len(found) != len(chosen):
        raise BadSample("the video's frames cannot be decoded")
    return found


def encode_video(value: Any) -> bytes:
    """A pair (frames uint8 [T, H, W, 3], frames per second) as lossless FFV1 in Matroska.

    Raises:
        BadSample: another type or shape.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise BadSample("video must be a pair (frames, frames per second)")
    frames = np.asarray(value[0])
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise BadSample(f"frames must be uint8 [T, H, W, 3], not {frames.dtype} {list(frames.shape)}")
    if not 0 < value[1] <= MAX_RATE:
        raise BadSample(f"{value[1]} frames per second are not between 0 and {MAX_RATE}")
    return _write(frames, Fraction(value[1]).limit_denominator(1001))


def _write(frames: np.ndarray, rate: Fraction) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _check_size(container: InputContainer) -> None:
    context = chosen_stream(container, "video").codec_context
    if context.width * context.height > MAX_PIXELS:
        raise BadSample(f"frames of {context.width} x {context.height} pixels are too large")


def _scan(container: InputContainer) -> tuple[list[int], list[tuple[int, int]]]:
    """Times at which frames are shown, and (shown, stored) of the key frames, from the packets alone."""
    times, keys = [], []
    for packet in container.demux(chosen_stream(container, "video")):
        shown, stored = _time(packet), packet.dts
        if shown is None or packet.is_discard:
            continue
        times.append(shown)
        if packet.is_keyframe:
            keys.append((shown, shown if stored is None else min(shown, stored)))
    return sorted(times), sorted(keys)


def _time(part: Any) -> int | None:
    """Some formats (AVI) leave out when a frame is shown, where that is when it is decoded."""
    return part.pts if part.pts is not None else part.dts


def _decode_at(
    container: InputContainer, times: Sequence[int], keys: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Pictures shown at ``times`` (ascending); jumps ahead wherever a key frame lies in between."""
    found: list[np.ndarray] = []
    frames: Iterator[VideoFrame] = iter(())
    position, last = None, None
    for time in times:
        key = max((key for key in keys if key[0] <= time), default=None)
        if position is None or (key is not None and position < key[0]):
            frames, position, last = _from(container, key, time), None, None
        while position is None or position < time:
            frame = next(frames, None)
            if frame is None:
                break
            position, last = _time(frame), frame
        if last is None:
            break
        found.append(upright(last, pixel_shape(container)))
    return found


def _from(container: InputContainer, key: tuple[int, int] | None, time: int) -> Iterator[VideoFrame]:
    """Frames from a key frame on, at the latest from ``time`` on.

    Formats disagree on whether a jump goes by shown or by stored time, and by the other it may land a key frame
    too early; if both land too late, the frames come from the beginning instead.
    """
    stream = chosen_stream(container, "video")
    for target in dict.fromkeys(key or ()):
        container.seek(target, stream=stream)
        frames = container.decode(stream)
        first = next(frames, None)
        if first is not None and (_time(first) or 0) <= time:
            yield first
            yield from frames
            return
    start = stream.start_time or 0
    container.seek(min(start, 0), stream=stream)
    yield from container.decode(stream)
