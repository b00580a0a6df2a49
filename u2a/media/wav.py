"""How much sound a WAV file (also RF64) says that it holds, and how much it holds."""

from __future__ import annotations

import struct

_UNKNOWN = 0x7FFF0000  # recorders and pipes that do not know the size yet write this much or more, or 0
_ABSURD = 0x40000000, 100  # or so many bytes, where not even one in a hundred is there
_CHUNKS = (b"LIST", b"fact", b"cue ", b"bext", b"id3 ", b"smpl")  # what may follow a WAV's sound


def repaired(member: bytes) -> tuple[bytes, float | None]:
    """The file with the true size of its sound where the header does not know it; and the seconds declared.

    None for files that are no WAV, or do not say.
    """
    if member[:4] not in (b"RIFF", b"RF64") or member[8:12] != b"WAVE":
        return member, None
    at, bytes_a_second, long_size = 12, 0, None
    while at + 8 <= len(member):
        name, size = struct.unpack_from("<4sI", member, at)
        if name == b"ds64" and at + 24 <= len(member):
            long_size = struct.unpack_from("<Q", member, at + 16)[0]
        if name == b"fmt " and at + 20 <= len(member):
            bytes_a_second = struct.unpack_from("<I", member, at + 16)[0]
        if name == b"data":
            return _with_size(member, at, size, bytes_a_second, long_size)
        at += 8 + size + size % 2
    return member, None


def _with_size(
    member: bytes, at: int, size: int, bytes_a_second: int, long_size: int | None
) -> tuple[bytes, float | None]:
    rest = len(member) - at - 8
    if long_size is not None and size == 0xFFFFFFFF:
        return member, long_size / bytes_a_second if bytes_a_second > 0 and long_size else None
    follows = member[at + 8 : at + 12] in _CHUNKS
    absurd = size >= _ABSURD[0] and rest < size // _ABSURD[1]
    if size >= _UNKNOWN > rest or absurd or (not size and rest > 0 and not follows):
        return member[: at + 4] + rest.to_bytes(4, "little") + member[at + 8 :], None
    return member, size / bytes_a_second if bytes_a_second else None
