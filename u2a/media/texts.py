"""Bytes of a text file to a text."""

from __future__ import annotations

from u2a.errors import BadSample

_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def decode_text(member: bytes) -> str:
    """UTF-8, or UTF-16 that says so in its first two bytes, as Windows' editors write it.

    Raises:
        BadSample: neither; says where.
    """
    name, encoding = ("UTF-16", "utf-16") if member.startswith(_UTF_16_MARKS) else ("UTF-8", "utf-8-sig")
    try:
        return member.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadSample(f"text is not {name} (byte {error.start})") from None
