"""Is every pixel of a JPEG there that lacks its end?"""

from __future__ import annotations

import io

from PIL import Image

END = b"\xff\xd9"
_ALWAYS = (0x01, *range(0xD0, 0xD9))  # markers without a length
_FRAMES = (0xC0, 0xC1, 0xC2)


def completed(data: bytes) -> bytes | None:
    """The file with its end marker, if that is all that it lacks; else None.

    A decoder fills what is missing with whatever follows. So the file is whole if the picture stays the same
    whatever bits are put behind it; and if every coefficient was sent to its last bit, where they come in
    several scans.
    """
    if not _all_scans(data):
        return None
    pictures = [_pixels(data + filler * 512 + END) for filler in (b"", b"\x55", b"\xaa")]
    return data + END if pictures[0] is not None and len(set(pictures)) == 1 else None


def _pixels(data: bytes) -> bytes | None:
    try:
        return Image.open(io.BytesIO(data), formats=("JPEG",)).tobytes()
    except Exception:  # nothing to compare
        return None


def _all_scans(data: bytes) -> bool:
    """Whether the scans bring every component (and, in progressive files, every bit of it)."""
    wanted: set[tuple[int, int]] = set()
    precision: dict[tuple[int, int], int] = {}
    at = 2
    while 0 <= at < len(data) - 4:
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF, *_ALWAYS):
            at = data.find(b"\xff", at + 1)
            continue
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker in _FRAMES and len(body) > 5:
            wanted = {(body[6 + 3 * n], k) for n in range(body[5]) for k in range(64) if len(body) > 6 + 3 * n}
        elif marker == 0xDA and body and len(body) >= 4 + 2 * body[0]:
            start, end, bits = body[1 + 2 * body[0] :][:3]
            for n in range(body[0]):
                precision |= {(body[1 + 2 * n], k): bits & 15 for k in range(start, end + 1)}
        at += 2 + length
    return bool(wanted) and all(precision.get(one) == 0 for one in wanted)
