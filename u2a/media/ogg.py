"""Links of an Ogg file: recordings one after another, as radio stations and ``cat`` join them."""

from __future__ import annotations

_BEGINS = 2  # flag of a page that begins a stream


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
