"""The texts of a label cell, and classes they may name; `u2a.data.shards.label_rule` decides."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from u2a.common.values import is_missing, nfc, number_text, short

_WHOLE = re.compile(r"-?[0-9]{1,18}(\.0*)?")  # numpy writes 1. for 1.0
_NUMPY = re.compile(r"\[\s*[-+.\d]+(\s+[-+.\d]+)*\s*\]")
_PYTHON = re.compile(
    r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(-?[0-9]+(?:\.[0-9]*)?)|(True|False))\s*(?:,|$)"""
)
_BRACKETS = ("[]", "()", "{}")


def label_texts(value: Any) -> tuple[str, ...] | None:
    """A cell or a field as the texts of its labels, numbers as they are written: a class may be called ``2.0``.

    None = unlabelled; an empty list is a label: no class.

    Raises:
        ValueError: it cannot be a label; says why.
    """
    if is_missing(value):
        return None
    if hasattr(value, "tolist"):  # an array
        value = value.tolist()
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        many = listed(text)
        return (_text(text),) if many is None else tuple(map(_text, many))
    if isinstance(value, list | tuple):
        return tuple(map(_text, value))
    return (_text(value),)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if number := number_text(value):
        written = str(value + 0) if isinstance(value, float | Decimal) else number  # -0.0 is 0.0
        return written if is_number(written) else number
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{short(value)} is not a label")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    return nfc(value.strip())


def listed(text: str) -> list[Any] | None:
    """The items of a list that was written into a cell as text: JSON, Python or numpy; None if it is none."""
    text = text.strip()
    if text[:1] + text[-1:] not in _BRACKETS:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text[1:-1].split() if _NUMPY.fullmatch(text) else _python_items(text)
    return found if isinstance(found, list) else None


def _python_items(text: str) -> list[Any] | None:
    """What Python's repr of a list, tuple or set of names, numbers and Booleans holds, as `str()` writes it."""
    items, at, inner = [], 0, text[1:-1]
    while at < len(inner.rstrip()):
        found = _PYTHON.match(inner, at)
        if found is None or "\\" in found[0]:
            return None
        name = found[1] if found[1] is not None else found[2]
        items.append(name if name is not None else found[3] or found[4] == "True")
        at = found.end()
    named = any(isinstance(item, str) and not is_number(item) for item in items)
    return items if named or text[0] == "[" else None  # "(1)" may well be a name


def is_number(text: str) -> bool:
    """Whether a label is a whole number."""
    return _WHOLE.fullmatch(text) is not None


def plain(text: str) -> str:
    """A whole number without its point: ``2.0`` is ``2``; any other text as it is."""
    return text.partition(".")[0] if is_number(text) else text


def names_of(classes: Iterable[str]) -> dict[str, str]:
    """Classes by their names in NFC, and ``2.0`` by ``2`` as well where no other class is that number."""
    names = {nfc(name): name for name in classes}
    counts = Counter(map(plain, names))
    return {plain(text): name for text, name in names.items() if counts[plain(text)] == 1} | names


def named(text: str, names: Mapping[str, str]) -> str | None:
    """The class of that name, of those of `names_of`; else the one that is the same whole number."""
    return names.get(text) or names.get(plain(text))
