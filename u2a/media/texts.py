"""Bytes of a text file to a text."""

from __future__ import annotations

from u2a.errors import BadSample

_MARKS = {  # UTF-16's first one begins as UTF-32's
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def decode_text(member: bytes) -> str:
    """UTF-8, or UTF-16 or UTF-32 that say so in their first bytes, as Windows' editors write them.

    Raises:
        BadSample: none of these; says where.
    """
    name = next((name for mark, name in _MARKS.items() if member.startswith(mark)), "UTF-8")
    try:
        text = member.decode("utf-8-sig" if name == "UTF-8" else name)
    except UnicodeDecodeError as error:
        raise BadSample(f"text is not {name} (byte {error.start}); save it as UTF-8") from None
    within = text.strip("\0")
    if 3 * within.count("\0") > len(within):
        raise BadSample("text is not UTF-8, but UTF-16 without its mark, or no text; save it as UTF-8")
    return text
