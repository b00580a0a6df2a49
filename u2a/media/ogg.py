"""Pages of an Ogg file (RFC 3533): recordings one after another, as radio stations and ``cat`` join them, and
how much of one is there."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from u2a.media.partial import MOST_LOST

_BEGINS = 2  # flag of a page that begins a stream
_LONGEST = 255 * 8192  # samples that a page can hold: so many packets of Vorbis' longest block
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def links(member: bytes) -> list[bytes]:
    """The file cut where another set of streams begins; other files in one piece."""
    starts, before = [], 0
    at = 0 if member.startswith(b"OggS") else -1
    while at >= 0:
        begins = member[at + 5 : at + 6] != b"" and member[at + 5] & _BEGINS
        if begins and not before:
            starts.append(at)
        before, at = begins, member.find(b"OggS", at + _page_size(member, at))
    if len(starts) < 2:
        return [member]
    return [member[a:b] for a, b in zip(starts, [*starts[1:], len(member)], strict=True)]


def _page_size(member: bytes, at: int) -> int:
    """As its header says; 4 bytes, so that the search goes on, where it is cut off or goes beyond the file."""
    segments = member[at + 27 : at + 27 + member[at + 26]] if at + 27 <= len(member) else b""
    size = 27 + len(segments) + sum(segments)
    return size if segments and member[at + size : at + size + 4] in (b"OggS", b"") else 4


@dataclass(frozen=True)
class _Page:
    whole: bool  # by its checksum
    serial: int
    number: int
    end: int  # samples of the stream when its last packet is decoded; -1: no packet ends here


def seconds_there(link: bytes, seconds: float) -> tuple[float, float] | None:
    """Of the first ``seconds`` of Vorbis or Opus: how many are there, and how many there would be undamaged.

    None for other codecs. Pages are numbered and say how far the sound is after them; one that is not whole or
    not there is as long as its neighbours. Where more of the beginning lacks than may, somebody tuned in to a
    station.
    """
    found = _sound(link)
    if found is None:
        return None
    serial, rate = found
    have = lost = late = 0.0
    before, between = _Page(True, serial, -1, 0), 0  # where the sound's place was known, and whole pages since
    for page in _whole_and_last(link, serial):
        steps, span = page.number - before.number, page.end - before.end
        if steps <= 0:  # once more, or late
            continue
        between += page.whole
        if page.end < 0:
            continue
        if 0 <= span <= steps * _LONGEST:  # else somebody set the clock
            gone = span * (1 - between / steps)
            have += span - gone
            lost, late = (lost + gone, late) if have > span - gone else (lost, late + gone)
        before, between = page, 0
        if (have + lost + late) / rate > seconds:
            break
    if late <= MOST_LOST * (have + lost + late) or not have:
        lost += late
    return have / rate, (have + lost) / rate


def _whole_and_last(link: bytes, serial: int) -> Iterator[_Page]:
    """A stream's whole pages, and what its last one says of itself where that is cut off or damaged."""
    broken = None
    for page in _pages(link):
        if page.serial == serial:
            broken = None if page.whole else page
            if page.whole:
                yield page
    if broken is not None:
        yield broken


def _pages(link: bytes) -> Iterator[_Page]:
    at = link.find(b"OggS")
    while at >= 0 and at + 27 <= len(link):
        end, serial, number, checksum, lines = struct.unpack_from("<qIIIB", link, at + 6)
        size = 27 + lines + sum(link[at + 27 : at + 27 + lines])
        data = link[at : at + 22] + bytes(4) + link[at + 26 : at + size]
        whole = len(data) == size and _checksum(data) == checksum
        yield _Page(whole, serial, number, end)
        at = link.find(b"OggS", at + (size if whole else 4))


def _checksum(page: bytes) -> int:
    """Ogg's is zlib's with the bits of each byte, and of the result, the other way round, and no inversions."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


def _sound(link: bytes) -> tuple[int, int] | None:
    """The serial number of the first stream of Vorbis or Opus, and what its pages count in a second."""
    at = 0 if link.startswith(b"OggS") else -1
    while at >= 0 and at + 28 <= len(link) and link[at + 5] & _BEGINS:
        serial, packet = struct.unpack_from("<I", link, at + 14)[0], link[at + 28 : at + 44]
        if packet.startswith(b"OpusHead"):
            return serial, 48_000
        if packet.startswith(b"\x01vorbis") and len(packet) == 16:
            rate = struct.unpack_from("<I", packet, 12)[0]
            return (serial, rate) if rate else None
        at = link.find(b"OggS", at + 4)
    return None
