"""What a label cell means, by one rule for manifests and for shards made elsewhere.

Null and NaN are no label. A text is the class of that name (compared in NFC, without outer spaces). A number
is a class's name or a class's place, counted from 0: whichever of the two fits all labels. If both would fit
and differ, nobody but the person can tell, and it is refused. true and false are the classes so named in any
case, else the numbers 1 and 0. As many zeros and ones as there are classes are a multi-hot vector.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from u2a.common.hints import nearest
from u2a.common.values import is_missing, missing_word, nfc, number_text, short

Numbers = Literal["names", "places", "multihot"]
_WHOLE = re.compile(r"-?[0-9]{1,18}(\.0*)?")  # numpy writes 1. for 1.0
_NUMPY = re.compile(r"\[\s*[-+.\d]+(\s+[-+.\d]+)*\s*\]")
_PYTHON = re.compile(
    r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(-?[0-9]+(?:\.[0-9]*)?)|(True|False))\s*(?:,|$)"""
)
_BRACKETS = ("[]", "()", "{}")
_ON, _OFF = ("1", "true"), ("0", "false")
_BOOLEANS = {"true": "1", "false": "0"}


def label_texts(value: Any) -> tuple[str, ...] | None:
    """A cell or a field as the texts of its labels; None = unlabelled; an empty list is a label: no class.

    Raises:
        ValueError: it cannot be a label; says why.
    """
    if is_missing(value):
        return None
    if hasattr(value, "tolist"):  # an array
        value = value.tolist()
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
        return number
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{short(value)} is not a label")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    text = nfc(value.strip())
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


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


class LabelRule:
    """Label texts to class names: `see` all of them, `decide` what numbers are, then `resolve` each.

    Args:
        classes: the class names, in order; none = every text is a name.
        numbers: what the person said that numbers are.
    """

    def __init__(self, classes: Sequence[str], numbers: Numbers | None = None) -> None:
        self.classes = tuple(classes)
        self.given = numbers
        self.decided: Numbers | None = numbers
        self._names = {nfc(name): name for name in classes}
        self._folded = {name.casefold(): name for name in classes}
        self._numbers: Counter[str] = Counter()  # numbers that were seen as labels
        self._word: str | None = None  # a label that was seen and is no number
        self._boolean: str | None = None  # one that is a place only
        self._hot = 0

    def see(self, texts: Sequence[str]) -> int:
        """Take note of one sample's labels; returns how many classes they name.

        Raises:
            ValueError: they fit no reading.
        """
        if not self.classes:
            return len(texts)
        if self._is_hot(texts):
            self._hot += 1
            return sum(text in _ON for text in texts)
        for text in texts:
            if self._name(text) is None and self._place(text) is None:
                raise ValueError(self._stranger(text))
            if is_number(text):
                self._numbers[text] += 1
            elif self._name(text) is None:
                self._boolean = text
            else:
                self._word = text
        return len(texts)

    def decide(self) -> None:
        """Settle what the numbers seen are.

        Raises:
            ValueError: it is ambiguous; says how to choose.
        """
        if self.given or not self._numbers:
            return
        names = all(self._name(text) is not None for text in self._numbers)
        places = all(self._place(text) is not None for text in self._numbers) and self._word is None
        differ = [text for text in sorted(self._numbers, key=int) if self._name(text) != self._place(text)]
        if names and places and differ:
            text = differ[0]
            raise ValueError(
                f"label {text} is the class {text!r} by name, and by place {self._place(text)!r}, and so all "
                "numbers here may be either; say which: --numbers names or --numbers places"
            )
        if not places and self._boolean:
            raise ValueError(f"labels are partly places: {self._boolean!r} is one, but not all numbers are")
        if not names and not places:
            odd = next(text for text in self._numbers if self._name(text) is None)
            raise ValueError(
                f"labels are partly names, partly numbers: {odd} is no class's name, but "
                f"{self._word or next(t for t in self._numbers if self._place(t) is None)!r} is no place"
            )
        self.decided = "names" if names else "places"

    def resolve(self, texts: Sequence[str]) -> tuple[str, ...]:
        """One sample's class names.

        Raises:
            ValueError: a label is no class, or there twice.
        """
        if not self.classes:
            found = tuple(texts)
        elif self._is_hot(texts):
            found = tuple(name for name, text in zip(self.classes, texts, strict=True) if text in _ON)
        else:
            found = tuple(map(self._class, texts))
        if len(set(found)) != len(found):
            raise ValueError("names a label twice")
        return found

    def told(self) -> list[str]:
        """What a person should know about how numbers were read, one line each."""
        lines = []
        if self._hot:
            lines.append(
                f"{self._hot} labels are multi-hot vectors of the {len(self.classes)} classes, in their order"
            )
        if self.decided == "places" and self._numbers:
            seen = sorted(self._numbers, key=int)
            shown = ", ".join(f"{text} = {self._place(text)!r} ({self._numbers[text]})" for text in seen[:5])
            more = ", ..." if len(seen) > 5 else ""
            lines.append(f"labels are numbers, taken as places in the classes, from 0: {shown}{more}")
            if "0" not in seen and "1" in seen:
                lines.append("no label is 0: if your numbers count from 1, every label is off by one")
        return lines

    def _class(self, text: str) -> str:
        name, place = self._name(text), self._place(text)
        if is_number(text) and self.decided == "places":
            name, place = place, None
        elif is_number(text) and self.decided == "names":
            place = None
        if (found := name if name is not None else place) is None:
            raise ValueError(self._stranger(text))
        return found

    def _name(self, text: str) -> str | None:
        found = self._names.get(text)
        return self._folded.get(text.casefold()) if found is None and text.casefold() in _BOOLEANS else found

    def _place(self, text: str) -> str | None:
        digits = _BOOLEANS.get(text.casefold(), text)
        if not digits.isascii() or not digits.isdigit():
            return None
        return self.classes[int(digits)] if int(digits) < len(self.classes) else None

    def _is_hot(self, texts: Sequence[str]) -> bool:
        """Zeros and ones, one for each class."""
        if self.given in ("names", "places"):
            return False
        if len(texts) != len(self.classes) or not all(text in (*_ON, *_OFF) for text in texts):
            if self.given == "multihot":
                raise ValueError(f"{', '.join(texts)} is no vector of {len(self.classes)} zeros and ones")
            return False
        if self.given or len(set(texts)) != len(texts) or "true" in texts or "false" in texts:
            return True
        raise ValueError(
            f"labels {', '.join(texts)} may be a multi-hot vector, or two names or places; say which: "
            "--numbers multihot, names or places"
        )

    def _stranger(self, text: str) -> str:
        if is_number(text):
            first = " (places count from 0)" if text == str(len(self.classes)) else ""
            first = "; leave the cell empty if the sample has no label" if text.startswith("-") else first
            return f"label {text!r} is none of the {len(self.classes)} classes, nor a place in them{first}"
        hint = nearest(text, self.classes)
        if len(re.findall("[01]", text)) == len(self.classes) and re.fullmatch(
            r"(tensor|array)?[\s\[\](),;.01]+", text
        ):
            hint = "; a multi-hot vector is written as a list: [1, 0, 1]"
        if missing_word(text):
            hint = "; leave the cell empty if the sample has no label"
        elif any(s in text and self._all_classes(text.split(s)) for s in "|,;/"):
            hint = "; several labels are a list, or separated by | in a manifest's column 'labels'"
        return f"label {short(text)} is not one of the recipe's classes{hint}"

    def _all_classes(self, parts: Sequence[str]) -> bool:
        return all(self._name(part.strip()) for part in parts)


def is_number(text: str) -> bool:
    """Whether a label is a whole number."""
    return _WHOLE.fullmatch(text) is not None
