"""Pictures without their metadata, so that a damaged or huge profile, comment or EXIF block costs no pixel.

What decides how the pixels look stays: palette, transparency, Adobe's colour transform. The orientation is
read on its own.
"""

from __future__ import annotations

import struct

from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
_ORIENTATION = 0x0112
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_SOS, _EOI, _APP0, _APP1, _APP14, _APP15, _COMMENT = 0xDA, 0xD9, 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_MAX_EXIF = 1 << 20


def strip(data: bytes) -> tuple[bytes, int | None]:
    """The file without metadata, and the orientation of its EXIF block; None = not looked for."""
    if data.startswith(PNG):
        return _strip_png(data)
    if data.startswith(JPEG):
        return _strip_jpeg(data)
    return data, None


def orientation(exif: bytes) -> int:
    """The orientation in an EXIF block; 1 where the block is damaged or says nothing."""
    if not exif or len(exif) > _MAX_EXIF:
        return 1
    try:
        block = Image.Exif()
        block.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        return int(block.get(_ORIENTATION, 1))
    except Exception:  # a damaged block can raise nearly anything; the pixels are whole
        return 1


def _strip_png(data: bytes) -> tuple[bytes, int]:
    parts, exif, at = [PNG], b"", len(PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        if kind in _PIXEL_CHUNKS:
            parts.append(data[at:end])
        if kind == b"IEND":
            break
        at = end
    return b"".join(parts), orientation(exif)


def _strip_jpeg(data: bytes) -> tuple[bytes, int]:
    parts, exif, at = [data[:2]], b"", 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0x00, _SOS, _EOI) or 0xD0 <= marker <= 0xD8:
            break  # the pixels, or something odd, which is the decoder's to judge
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _APP1 and not exif and data[at + 4 : at + 10] == b"Exif\0\0":
            exif = data[at + 4 : end]
        if marker not in (*range(_APP1, _APP15 + 1), _COMMENT) or marker == _APP14:
            parts.append(data[at:end])
        at = end
    parts.append(data[at:])
    return b"".join(parts), orientation(exif)
