"""One frame of a film as it is meant to be seen: RGB, square pixels, turned and mirrored as the file says."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from u2a.media.containers import chosen_stream

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

#: Wider or narrower pixels than this are taken for a damaged header.
_OBLONG = 8


def pixel_shape(container: InputContainer) -> Fraction:
    """Width of a pixel over its height, as the container or the codec says; 1 if neither does."""
    stream = chosen_stream(container, "video")
    stated = stream.codec_context.sample_aspect_ratio if "mpeg" in container.format.name else None
    shape = Fraction(stated or stream.sample_aspect_ratio or 1)
    return shape if Fraction(1, _OBLONG) <= shape <= _OBLONG else Fraction(1)


def upright(frame: VideoFrame, shape: Fraction) -> np.ndarray:
    """uint8 [H, W, 3]; oblong pixels are made square by enlarging the short side."""
    # One thread: those of a scaler that was used before do not live on in a forked data worker, which waits.
    if shape == 1:
        pixels = frame.to_ndarray(format="rgb24", threads=1)
    else:
        width = round(frame.width * max(shape, Fraction(1)))
        height = round(frame.height * max(1 / shape, Fraction(1)))
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height, threads=1)
    return np.ascontiguousarray(_turned(pixels, frame))


def _turned(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """As the display matrix says: x' = a x + c y, y' = b x + d y. Front cameras mirror, phones turn."""
    stated = frame.side_data.get("DISPLAYMATRIX")
    if stated is None:
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(stated), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    pixels = pixels[:, ::-1] if a < 0 else pixels
    return pixels[::-1] if d < 0 else pixels
