"""WAV files (also RF64) as they are: chunks without padding, and how much sound one says that it holds."""

from __future__ import annotations

import struct

_UNKNOWN = 0x7FFF0000  # recorders and pipes that do not know the size yet write this much or more, or 0
_ABSURD = 0x40000000, 100  # or so many bytes, where not even one in a hundred is there
_AFTER = (b"LIST", b"fact", b"cue ", b"bext", b"id3 ", b"smpl")  # what may follow a WAV's sound
_NAMES = (b"fmt ", b"data", b"PEAK", b"JUNK", b"junk", b"FLLR", b"PAD ", b"iXML", b"axml", b"acid", *_AFTER)


def repaired(member: bytes) -> tuple[bytes, float | None]:
    """The file with the true size of its sound where the header does not know it, and chunks padded as they
    should be; and the seconds declared.

    None for files that are no WAV, or do not say.
    """
    if member[:4] not in (b"RIFF", b"RF64") or member[8:12] != b"WAVE":
        return member, None
    at, bytes_a_second, long_size = 12, 0, None
    kept, whole = member[:12], True  # what the sound's chunk needs before it
    while at + 8 <= len(member):
        name, size = struct.unpack_from("<4sI", member, at)
        if name == b"ds64" and at + 24 <= len(member):
            long_size = struct.unpack_from("<Q", member, at + 16)[0]
        if name == b"fmt " and at + 20 <= len(member):
            bytes_a_second = struct.unpack_from("<I", member, at + 16)[0]
        if name == b"data" and not whole:
            member, at = kept + member[at:], len(kept)
        if name == b"data":
            return _with_size(member, at, size, bytes_a_second, long_size)
        if name in (b"ds64", b"fmt "):
            chunk = member[at : at + 8 + size]  # of a damaged size not more than there is
            kept += chunk + b"\0" * (len(chunk) % 2)
        padding = _padding(member, at + 8 + size, size % 2)
        whole = whole and padding == size % 2
        at += 8 + size + padding
    return member, None


def _padding(member: bytes, at: int, right: int) -> int:
    """How many bytes follow a chunk that ends at `at`: one if it is odd, else none, but not in all files."""
    wrong = 1 - right
    is_wrong = (
        member[at + wrong : at + wrong + 4] in _NAMES and member[at + right : at + right + 4] not in _NAMES
    )
    return wrong if is_wrong else right


def _with_size(
    member: bytes, at: int, size: int, bytes_a_second: int, long_size: int | None
) -> tuple[bytes, float | None]:
    rest = len(member) - at - 8
    if long_size is not None and size == 0xFFFFFFFF:
        return member, long_size / bytes_a_second if bytes_a_second > 0 and long_size else None
    follows = member[at + 8 : at + 12] in _AFTER
    absurd = size >= _ABSURD[0] and rest < size // _ABSURD[1]
    if size >= _UNKNOWN > rest or absurd or (not size and rest > 0 and not follows):
        return member[: at + 4] + rest.to_bytes(4, "little") + member[at + 8 :], None
    return member, size / bytes_a_second if bytes_a_second else None
