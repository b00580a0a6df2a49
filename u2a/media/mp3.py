"""How much of an MP3 is there: its frames counted by their headers, which its decoders do not tell."""

from __future__ import annotations

import struct

_SAMPLES = {1: {3: 1152, 2: 1152, 1: 384}, 2: {3: 576, 2: 1152, 1: 384}}  # by version and layer
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBITS[2, 3] = _KBITS[2, 2]
_FEWEST = 3  # frames, below which bytes only look like an MP3


def seconds_there(member: bytes, seconds: float) -> tuple[float, float] | None:
    """Of the first ``seconds``: how many are there, and how many there would be of the whole file.

    None where the bytes are no chain of frames. That a file is cut off is known from its Xing header, if any.
    """
    at: int | None = _next(member, _after_tags(member))
    if at is None:
        return None
    frames, have, lost_bytes, frame_bytes = 0, 0.0, 0, 0
    kind: tuple[int, ...] = ()
    declared = 0.0
    while at is not None and (found := _frame(member, at)) is not None and have <= seconds:
        size, kind = found[0], found[1:]
        rate, samples = kind
        if not frames:  # a first one may declare the others, and is itself a frame
            declared = (_declared(member[at : at + size]) + 1) * samples / rate
        frames, have, frame_bytes = frames + 1, have + samples / rate, frame_bytes + size
        at, lost = _following(member, at + size, kind)
        lost_bytes += lost
    if frames < _FEWEST:
        return None
    whole = declared if have <= min(declared, seconds) else have + lost_bytes * have / frame_bytes
    return min(have, seconds), min(whole, seconds)


def _following(member: bytes, at: int, kind: tuple[int, ...]) -> tuple[int | None, int]:
    """Where the next frame stands, and how many bytes there are before it that are none."""
    found = _frame(member, at)
    if found is not None and (found[1:] == kind or _goes_on(member, at + found[0], found[1:])):
        return at, 0
    after = _next(member, at)
    return after, 0 if after is None else after - at


def _after_tags(member: bytes) -> int:
    at = 0
    while member[at : at + 3] == b"ID3" and at + 10 <= len(member):
        size = 0
        for byte in member[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size
    return at


def _frame(member: bytes, at: int) -> tuple[int, int, int] | None:
    """A frame's bytes, rate and samples, from its header."""
    if at + 4 > len(member):
        return None
    head = struct.unpack_from(">I", member, at)[0]
    version, layer = head >> 19 & 3, 4 - (head >> 17 & 3)
    kbits, rate = head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    kind = 1 if version == 3 else 2
    samples, hertz = _SAMPLES[kind][layer], _RATES[version][rate]
    bits = _KBITS[kind, layer][kbits - 1] * 1000
    unit = 4 if layer == 1 else 1
    return (samples // 8 // unit * bits // hertz + (head >> 9 & 1)) * unit, hertz, samples


def _goes_on(member: bytes, at: int, kind: tuple[int, ...]) -> bool:
    """Whether the next frame, a tag or the end stands there."""
    if at >= len(member) or member[at : at + 3] in (b"TAG", b"ID3", b"APE", b"LYR"):
        return True
    found = _frame(member, at)
    return found is not None and found[1:] == kind


def _next(member: bytes, at: int) -> int | None:
    """Where the next two frames stand one after the other."""
    while (at := member.find(b"\xff", at)) >= 0:
        found = _frame(member, at)
        if found is not None and at + found[0] < len(member) and _goes_on(member, at + found[0], found[1:]):
            return at
        at += 1
    return None


def _declared(frame: bytes) -> int:
    """How many frames follow, as encoders write it into a first frame of silence; else -1."""
    at = max(frame.find(b"Xing", 4, 48), frame.find(b"Info", 4, 48))
    if at < 0 or at + 12 > len(frame) or not frame[at + 7] & 1:
        return -1
    return int(struct.unpack_from(">I", frame, at + 8)[0])
