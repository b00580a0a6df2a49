"""Bytes of an image file to an upright RGB picture, whatever the file's colours, and back to PNG."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from u2a.errors import BadSample

#: Larger pictures are refused before their pixels are decoded (268 MB as RGB).
MAX_PIXELS = 89_478_485
#: Formats that Pillow decodes itself; others (EPS, PDF ...) would start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_ORIENTATION = 0x0112


def decode_rgb(member: bytes, shrink: Callable[[tuple[int, int]], float] | None = None) -> Image.Image:
    """The first frame, upright, transparency on white, as 8-bit RGB.

    Args:
        member: the file's bytes.
        shrink: from the upright (width, height) to the scale that suffices; JPEG then decodes to the next
            larger of 1/2, 1/4, 1/8, which is much quicker.

    Raises:
        BadSample: not an image, truncated, too large, or with pixels of a kind that has no colours.
    """
    if not member:
        raise BadSample("empty file")
    with _pillow_errors():
        image = Image.open(io.BytesIO(member), formats=FORMATS)
        _check_size(image)
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        if shrink is not None:
            scale = shrink(image.size[::-1] if turned else image.size)
            image.draft(None, (int(image.width * scale), int(image.height * scale)))
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


def encode_png(value: Any) -> bytes:
    """A PIL image, or an array [H, W] or [H, W, 3], uint8 or float in 0..1, as PNG bytes.

    Raises:
        BadSample: another type or shape.
    """
    image = value if isinstance(value, Image.Image) else Image.fromarray(_as_uint8(np.asarray(value)))
    buffer = io.BytesIO()
    _to_rgb(ImageOps.exif_transpose(image)).save(buffer, format="PNG")
    return buffer.getvalue()


def _as_uint8(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or not array.size:
        raise BadSample(f"an image array must be [H, W] or [H, W, 3], not {list(array.shape)}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating) or not (array.min() >= 0 and array.max() <= 1):
        raise BadSample(f"an image array must be uint8, or float in 0..1, not {array.dtype}")
    return (array * 255).round().astype(np.uint8)


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Pillow's many exceptions as one; its notices about odd metadata are nobody's business here."""
    with _no_warnings():
        try:
            yield
        except BadSample:
            raise
        except Exception as error:  # a damaged file can raise nearly anything inside a codec
            raise BadSample(f"cannot be decoded as an image: {_short(error)}") from None


_inside, _entered = threading.Lock(), ExitStack()
os.register_at_fork(after_in_child=lambda: _inside.release() if _inside.locked() else None)
_threads = 0


@contextmanager
def _no_warnings() -> Iterator[None]:
    """No warnings while any thread is inside: the filters are the process's, so the last one restores them."""
    global _threads
    with _inside:
        if _threads == 0:
            _entered.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _threads += 1
    try:
        yield
    finally:
        with _inside:
            _threads -= 1
            if _threads == 0:
                _entered.close()


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "unknown format" if "cannot identify image file" in text else text[:200] or type(error).__name__


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadSample(f"image of {width} x {height} pixels is larger than the limit of {MAX_PIXELS}")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_grey(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _wide_grey(image: Image.Image) -> Image.Image:
    """16-bit grey to 8-bit; Pillow's own conversion clips at 255 and turns nearly everything white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise BadSample(f"grey values beyond 16 bits (mode {image.mode}) have no agreed brightness")
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))
