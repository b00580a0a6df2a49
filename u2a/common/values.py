"""What values of tables are: missing ones, whole numbers, texts that look alike. Knows nothing of data sets."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

_FILE = re.compile(r"[^\n\r\t]{0,250}(\.[A-Za-z0-9]{1,8}|/[^\s/]+)")
#: No message prints more of a value.
MOST_SHOWN = 60
#: Cells that people and spreadsheets write for "nothing", in lower case: pandas' own list and a few more.
MISSING_WORDS = frozenset(
    "nan -nan none null nil n/a n.a. na <na> nat #n/a #n/a! #na - -- ? missing (null) (none) #null! #value! "  # noqa: SIM905
    "1.#ind -1.#ind 1.#qnan -1.#qnan \\n . .. \u2013 \u2014 undefined".split()
)


def is_missing(value: Any) -> bool:
    """Whether a value means nothing: None, NaN of any number type, NaT, pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real | Decimal) and bool(value != value)  # NaN is not itself


def is_blank(value: Any) -> bool:
    """Whether a cell holds nothing: a missing value or an empty text; of anything else it is not asked."""
    return is_missing(value) or (isinstance(value, str) and not value)


def missing_word(text: str) -> bool:
    """Whether a text is one of the words that people write for a missing value."""
    return len(text) < 16 and text.strip().casefold() in MISSING_WORDS


def number_text(value: Any) -> str | None:
    """A whole number (``3``, ``3.0``, ``Decimal("3")``) as its digits; None for all else, bool included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral):
        return str(int(value))
    if not isinstance(value, Real | Decimal):
        return None
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else None


def nfc(text: str) -> str:
    """The composed form, in which names are compared: macOS writes an accent as a character of its own."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def looks_like_file(text: str) -> bool:
    """Whether a text may be the path of a file: one line, and an extension or a folder."""
    return _FILE.fullmatch(text) is not None


def short(value: Any) -> str:
    """A value for a message: its repr, cut. Long bytes and arrays are never spelt out whole."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        shown = repr(value[: MOST_SHOWN + 1])
    elif isinstance(value, list | tuple):
        shown = f"a list of {len(value)}" if len(value) > 8 else repr([_part(one) for one in value])
    elif isinstance(value, dict):
        shown = f"an object of {', '.join(map(str, list(value)[:8]))}"
    else:
        shown = repr(value)
    return shown if len(shown) <= MOST_SHOWN + 2 else shown[: MOST_SHOWN - 3] + "..."


def _part(value: Any) -> Any:
    small = isinstance(value, int | float) or (isinstance(value, str) and len(value) <= MOST_SHOWN)
    return value if small or value is None else _Kind(type(value).__name__)


class _Kind(str):
    """The name of a type, for a value that is too long to be shown."""

    def __repr__(self) -> str:
        return f"<{self}>"


def told_apart(one: str, other: str) -> tuple[str, str]:
    """Two different texts for one message; by code points where a reader would take them for the same."""
    if looks(one) == looks(other):
        return ascii(one), ascii(other)
    return short(one), short(other)


#: Letters of other scripts that look like Latin ones; enough to warn, not to decide.
_TWINS = str.maketrans("аеорсухіјѕԁһВНКМТАЕОРСХαοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijsdhBHKMTAEOPCXaoABEZHIKMNOPTYX")  # noqa: RUF001
_MARKS = str.maketrans("\u2018\u2019\u201c\u201d\u2010\u2011\u2012\u2013\u2014\u2212", "''\"\"------")


def looks(text: str) -> str:
    """What a text looks like: no invisible characters, one form for each accent, one kind of space,
    hyphen and quotation mark."""
    plain = unicodedata.normalize("NFKC", text).translate(_TWINS).translate(_MARKS)
    return " ".join("".join(c for c in plain if unicodedata.category(c) not in ("Cf", "Cc")).split())


def code_span(text: str) -> str:
    """A text as Markdown's code: shown as it is, whatever markup it holds."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}"


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different; json itself would keep the last value of a name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"names {next(name for name in names if names.count(name) > 1)!r} twice")
    return found
