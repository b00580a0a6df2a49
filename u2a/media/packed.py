"""TIFF greys of depths that Pillow has no mode for: 10 and 14 bits, say, or 32 with the highest byte first."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from u2a.media.grey import brightness, tiff_tags

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 262, 274
_SAMPLES, _PREDICTOR, _TILE_WIDTH, _FORMAT = 277, 317, 322, 339
_OF_PILLOW = {b"II": (1, 2, 4, 8, 12, 16, 32), b"MM": (1, 2, 4, 8, 16)}
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # orientation to PIL.Image.Transpose


def opened(data: bytes, most: int) -> Image.Image | None:
    """Such a picture, upright, in mode ``L``; None for any other file, and for more than `most` pixels.

    Pillow reads its rows as if they were bytes, however they are compressed, and they are taken apart here.
    Its own exceptions pass.
    """
    tags = tiff_tags(data)
    value = {tag: found for tag, (_, found) in tags.items()}
    bits, width, height = (value.get(tag, 1) for tag in (_BITS, _WIDTH, _HEIGHT))
    plain = (_SAMPLES, _PREDICTOR, _FORMAT)
    if not tags or bits > 32 or bits in _OF_PILLOW[data[:2]]:
        return None
    if _TILE_WIDTH in value or any(value.get(tag, 1) != 1 for tag in plain):
        return None
    row_bytes = -(-width * bits // 8)
    if value.get(_PHOTOMETRIC) not in (0, 1) or row_bytes > 0xFFFF or width * height > most:
        return None
    changed = bytearray(data)
    for tag, number in ((_WIDTH, row_bytes), (_BITS, 8), (_PHOTOMETRIC, 1), (_ORIENTATION, 1)):
        if tag in tags:
            _write(changed, tags[tag][0], number)
    rows_HR = np.asarray(Image.open(io.BytesIO(bytes(changed)), formats=("TIFF",)))
    white, inverted = (1 << bits) - 1, value[_PHOTOMETRIC] == 0
    little = data.startswith(b"II")
    greys = [brightness(_values(row_R, bits, width, little), white, inverted) for row_R in rows_HR]
    image = Image.fromarray(np.stack(greys))
    turn = _TURNS.get(value.get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(Image.Transpose(turn))


def _write(data: bytearray, lowest: int, number: int) -> None:
    """A number below 65,536 whose lowest byte stands there."""
    step = 1 if data.startswith(b"II") else -1
    data[lowest], data[lowest + step] = number & 0xFF, number >> 8


def _values(row_R: np.ndarray, bits: int, width: int, little: bool) -> np.ndarray:
    """One row's bytes as numbers: whole bytes in the file's order, else packed from the highest bit on."""
    if bits % 8 == 0:
        parts_WB = row_R.reshape(width, bits // 8).astype(np.uint32)
        places_B = np.arange(bits // 8, dtype=np.uint32) * 8
        return (parts_WB << (places_B if little else places_B[::-1])).sum(1, dtype=np.uint32)
    bits_WB = np.unpackbits(row_R)[: width * bits].reshape(width, bits)
    return bits_WB @ (1 << np.arange(bits - 1, -1, -1, dtype=np.uint32))
