"""Bytes of an image file to an upright RGB picture, whatever the file's colours and depth."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from PIL import Image

from u2a.errors import BadSample, one_line
from u2a.media import grey, jpeg, packed
from u2a.media.lab import lab_to_rgb
from u2a.media.metadata import strip
from u2a.media.names import named
from u2a.media.quiet import no_warnings

#: Larger pictures are refused before their pixels are decoded (268 MB as RGB).
MAX_PIXELS = 89_478_485
#: Formats that Pillow decodes itself; others (EPS, PDF ...) would start programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_ORIENTATION, _COLOUR_MAP = 0x0112, 320
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_rgb(member: bytes, shrink: Callable[[tuple[int, int]], float] | None = None) -> Image.Image:
    """The first frame, upright, transparency on white, as 8-bit RGB.

    Args:
        member: the file's bytes.
        shrink: called once, from the upright (width, height) to the scale that suffices; JPEG then decodes to
            the next larger of 1/2, 1/4, 1/8, which is much quicker.

    Raises:
        BadSample: not an image, truncated, too large, or with pixels of a kind that has no colours.
    """
    if not member:
        raise BadSample("empty file")
    with picture_errors(member):
        data, turn = strip(member)
        image = open_picture(data)
        if image.format == "JPEG" and shrink is not None:
            scale = shrink(image.size[::-1] if turn in (5, 6, 7, 8) else image.size)
            image = _small_jpeg(data, image, scale)
        else:
            image = _loaded(data, image)
        # Pillow turns TIFF itself; elsewhere it says how the file wants to be turned.
        turn = 1 if image.format == "TIFF" else _stated_turn(image) if turn is None else turn
        upright = turned(to_rgb(image, data), turn)
        if image.format != "JPEG" and shrink is not None:
            shrink(upright.size)
        return upright


def open_picture(data: bytes) -> Image.Image:
    """A picture of which only the header was read.

    Raises:
        BadSample: too large. Pillow's own errors pass, see `picture_errors`.
    """
    if (wide := packed.opened(data, MAX_PIXELS)) is not None:
        wide.format = "TIFF"  # which Pillow turns itself
        return wide
    data = grey.black_is_zero(data)
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    image: Image.Image = Image.open(io.BytesIO(data), formats=formats)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadSample(f"image of {width} x {height} pixels is larger than the limit of {MAX_PIXELS}")
    _check_covered(image)
    return image


def _check_covered(image: Any) -> None:
    """Pillow leaves black what no strip of a TIFF covers."""
    if image.format != "TIFF" or not image.tile:
        return
    have = [max(tile[1][side] for tile in image.tile) for side in (2, 3)]
    wanted = [image.tag_v2.get(tag, 0) for tag in (256, 257)]  # as stored: it may have to be turned
    if have[0] < wanted[0] or have[1] < wanted[1]:
        raise BadSample(f"declares {wanted[0]} x {wanted[1]} pixels, but holds {have[0]} x {have[1]}")


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as EXIF's orientation wants it to be seen."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _with_bright_palette(image: Any) -> Image.Image:
    """TIFF's palettes are of 16 bits; some programs write 8, all of which Pillow takes for black."""
    colours = image.tag_v2.get(_COLOUR_MAP, ())
    if 0 < max(colours, default=0) < 256:
        n = len(colours) // 3
        image.putpalette(bytes(colours[k * n + i] for i in range(n) for k in range(3)))
    return cast(Image.Image, image)


def to_rgb(image: Image.Image, data: bytes = b"") -> Image.Image:
    """8-bit RGB on white; `data` is the file that the picture came from, which says what its greys mean."""
    if image.mode == "P" and image.format == "TIFF":
        image = _with_bright_palette(image)
    if image.mode == "LAB":
        return lab_to_rgb(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = grey.to_8_bits(image, data)
    elif data and (mask := grey.png_mask(image, data)) is not None:
        image = _on_white(image.convert("RGB"), mask)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _on_white(image: Image.Image, clear: np.ndarray) -> Image.Image:
    pixels = np.array(image)
    pixels[clear] = 255
    return Image.fromarray(pixels)


def _small_jpeg(data: bytes, image: Image.Image, scale: float) -> Image.Image:
    wanted = (int(image.width * scale), int(image.height * scale))
    image.draft(None, wanted)
    return _loaded(data, image, wanted)


def _loaded(data: bytes, image: Image.Image, draft: tuple[int, int] | None = None) -> Image.Image:
    try:
        image.load()
        return image
    except OSError:
        whole = jpeg.completed(data) if image.format == "JPEG" else None
        if whole is None:
            raise
    image = Image.open(io.BytesIO(whole), formats=("JPEG",))
    if draft is not None:
        image.draft(None, draft)
    image.load()
    return image


def _stated_turn(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata of whole pixels
        return 1


@contextmanager
def picture_errors(member: bytes) -> Iterator[None]:
    """Pillow's many exceptions as one; its notices about odd metadata are nobody's business here."""
    with no_warnings():
        try:
            yield
        except BadSample:
            raise
        except Exception as error:  # a damaged file can raise nearly anything inside a codec
            raise BadSample(f"cannot be decoded as an image: {_short(error, member)}") from None


def _short(error: Any, member: bytes) -> str:
    text = one_line(error)
    if "cannot identify image file" in text:
        return named(member) or "unknown format"
    return text[:200] or type(error).__name__
