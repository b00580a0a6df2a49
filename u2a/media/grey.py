"""Wide greys, white-is-zero, and transparent greys: what the file declares, not what it holds."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from u2a.errors import BadSample
from u2a.media.metadata import PNG

_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_SIGNED, _FLOAT = 2, 3
_TABLED = 0xFFFF
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def black_is_zero(data: bytes) -> bytes:
    """A TIFF of wide white-is-zero grey that says black-is-zero, so that Pillow opens it in either byte order.

    `to_8_bits` undoes it; other files stay as they are.
    """
    tags = tiff_tags(data)
    if tags.get(_PHOTOMETRIC, (0, 1))[1] != _WHITE_IS_ZERO or tags.get(_BITS, (0, 1))[1] <= 8:
        return data
    at = tags[_PHOTOMETRIC][0]
    return data[:at] + bytes([_BLACK_IS_ZERO]) + data[at + 1 :]


def to_8_bits(image: Image.Image, data: bytes) -> Image.Image:
    """Mode ``L`` (or RGB on white, with a transparent grey) of a picture in mode ``I``, ``I;16...``.

    Pillow's own conversion clips at 255 and turns nearly everything white.

    Raises:
        BadSample: values without an agreed brightness: floats, negative, or beyond the declared depth.
    """
    tags = tiff_tags(data)
    bits = tags.get(_BITS, (0, 16))[1]
    form = tags.get(_FORMAT, (0, 1))[1]
    values = np.asarray(image)
    if image.mode == "F":
        raise BadSample("grey values as floats (mode F) have no agreed brightness")
    if form != _SIGNED and bits == 32:
        values = values.view(np.uint32)  # Pillow's 32 bits are signed
    white = (1 << (bits - 1 if form == _SIGNED else bits)) - 1
    if values.min() < 0 or values.max() > white:
        raise BadSample(f"grey values beyond {bits} bits (mode {image.mode}) have no agreed brightness")
    inverted = tags.get(_PHOTOMETRIC, (0, 1))[1] == _WHITE_IS_ZERO
    if white <= _TABLED:  # one look-up a pixel: some bytes may declare 89 million of them
        small = brightness(np.arange(white + 1), white, inverted)[values]
    else:
        small = np.stack([brightness(row, white, inverted) for row in values])
    clear = png_key(data)
    if clear is not None:
        small = np.where(values == clear[0], np.uint8(255), small)
    return Image.fromarray(small)


def brightness(values: np.ndarray, white: int, inverted: bool) -> np.ndarray:
    """Unsigned values in 0..white as uint8, rounded down; inverted: 0 is white."""
    wide = values.astype(np.uint64) * 255
    if inverted:
        return 255 - ((wide + white - 1) // white).astype(np.uint8)
    return (wide // white).astype(np.uint8)


def png_mask(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels [H, W] of a PNG that its one transparent grey or colour makes clear; None without one.

    Pillow compares the file's own value with pixels that it has scaled to 8 bits, which fits only at 8 bits.
    """
    key = png_key(data)
    if key is None or image.mode not in ("1", "L", "RGB"):
        return None
    depth = data[24]
    if image.mode == "RGB" and depth == 16:
        return _clear_of_48_bits(data, image)
    pixels = np.asarray(image.convert("RGB"))
    scaled = [value * 255 // ((1 << depth) - 1) for value in key] if depth < 8 else list(key)
    return (pixels == np.array(scaled * (3 // len(scaled)))).all(axis=2)


def png_key(data: bytes) -> tuple[int, ...] | None:
    """The transparent grey, or red, green and blue, in the file's own depth."""
    if not data.startswith(PNG) or len(data) < 26 or data[25] not in (0, 2):
        return None
    size = 2 if data[25] == 0 else 6
    start = data[: data.find(b"IDAT")]
    at = start.find(b"tRNS", 33)
    if at < 4 or int.from_bytes(data[at - 4 : at], "big") < size:
        return None
    return struct.unpack(f">{size // 2}H", data[at + 4 : at + 4 + size])


def _clear_of_48_bits(data: bytes, image: Image.Image) -> np.ndarray | None:
    """From FFmpeg's decoder: Pillow keeps 8 of the 16 bits of colours."""
    import av

    frames = av.CodecContext.create("png", "r").decode(av.Packet(data))
    if not frames or (frames[0].width, frames[0].height) != image.size:
        return None
    return frames[0].to_ndarray(format="rgba64le", threads=1)[:, :, 3] == 0


def tiff_tags(data: bytes) -> dict[int, tuple[int, int]]:
    """Numbers of a TIFF's first picture by tag: (place of the lowest byte, value); {} for other files."""
    order = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}.get(data[:4])
    if order is None:
        return {}
    try:
        return dict(_read_tags(data, order, big=data[2:3] == b"+" or data[3:4] == b"+"))
    except struct.error:
        return {}


def _read_tags(data: bytes, order: str, *, big: bool) -> list[tuple[int, tuple[int, int]]]:
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    number = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    size, head = (20, 8) if big else (12, 2)
    found = []
    for n in range(min(number, 4096)):
        at = start + head + n * size
        tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
        if kind not in _TYPES:
            continue
        letter, at = _TYPES[kind], at + (12 if big else 8)
        if count * struct.calcsize(order + letter) > (8 if big else 4):
            at = struct.unpack_from(order + ("Q" if big else "I"), data, at)[0]
        least = at + (struct.calcsize(order + letter) - 1 if order == ">" else 0)
        found.append((tag, (least, struct.unpack_from(order + letter, data, at)[0])))
    return found
