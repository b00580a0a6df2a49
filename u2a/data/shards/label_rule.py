"""What a label cell means, by one rule for manifests and for shards made elsewhere.

Null and NaN are no label. A text is the class of that name (compared in NFC, without outer spaces), and so is
``2.0`` where a class is called so. Any other number, or one as places are written, is a class's name (``2.0``
is ``2``) or a class's place, counted from 0: whichever of the two fits all labels. If both would fit and
differ, nobody but the person can tell, and it is refused. true and false are the classes so named in any case,
else the numbers 1 and 0. As many zeros and ones as there are classes are a multi-hot vector.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from u2a.common.hints import nearest
from u2a.common.values import missing_word, short
from u2a.data.shards.labels import is_number, named, names_of, plain

Numbers = Literal["names", "places", "multihot"]
_PLACE = re.compile(r"0|[1-9][0-9]*")
_BOOLEANS = {"true": "1", "false": "0"}


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
        self._names = names_of(classes)
        self._folded = {name.casefold(): name for name in classes}
        self._numbers: Counter[str] = Counter()  # labels that may be places, as they are written
        self._word: str | None = None  # a label that was seen and is a name only
        self._hot = 0

    def see(self, texts: Sequence[str]) -> int:
        """Take note of one sample's labels; returns how many classes they name.

        Raises:
            ValueError: they fit no reading, or one is there twice.
        """
        if not self.classes:
            return len(texts)
        if self._is_hot(texts):
            self._hot += 1
            return sum(_bit(text) == "1" for text in texts)
        different: set[str | int] = set()
        for text in texts:
            found: str | int = self._class(text)
            if (number := self._number(text)) is None:
                self._word = text
            else:
                self._numbers[text] += 1
                found = self._name(text) or number  # its place may be what another label is called
            different.add(found)
        if len(different) != len(texts):
            hot = len(texts) == len(self.classes) and all(map(_bit, texts))
            hint = "; if it is a vector of zeros and ones: --numbers multihot" if hot else ""
            raise ValueError(f"names a label twice{hint}")
        return len(texts)

    def decide(self) -> None:
        """Settle what the numbers seen are.

        Raises:
            ValueError: it is ambiguous, or neither fits all; says how to choose.
        """
        if not self._numbers or self.given in ("names", "multihot"):
            return
        names = not self.given and all(self._name(text) is not None for text in self._numbers)
        places = self._word is None and all(self._place(text) is not None for text in self._numbers)
        if names and places:
            for text in self._sorted():
                if self._name(text) != self._place(text):
                    raise ValueError(
                        f"label {text} is the class {self._name(text)!r} by name, and by place "
                        f"{self._place(text)!r}, and so all numbers here may be either; say which: "
                        "--numbers names or --numbers places"
                    )
        if not names and not places:
            raise ValueError(self._mixed())
        self.decided = "names" if names else "places"

    def resolve(self, texts: Sequence[str]) -> tuple[str, ...]:
        """One sample's class names.

        Raises:
            ValueError: a label is no class, or there twice.
        """
        if not self.classes:
            found = tuple(texts)
        elif self._is_hot(texts):
            found = tuple(name for name, text in zip(self.classes, texts, strict=True) if _bit(text) == "1")
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
        seen = list(filter(is_number, self._sorted()))
        if self.decided == "places" and seen:
            shown = ", ".join(f"{text} = {self._place(text)!r} ({self._numbers[text]})" for text in seen[:5])
            more = ", ..." if len(seen) > 5 else ""
            lines.append(f"labels are numbers, taken as places in the classes, from 0: {shown}{more}")
            if 1 in (places := {self._number(text) for text in self._numbers}) and 0 not in places:
                lines.append("no label is 0: if your numbers count from 1, every label is off by one")
        return lines

    def _class(self, text: str) -> str:
        """By name, else by place, as far as it is decided what numbers are."""
        found = None
        if self.decided != "places" or self._number(text) is None:
            found = self._name(text)
        if self.decided != "names" and found is None:
            found = self._place(text)
        if found is None:
            raise ValueError(self._stranger(text))
        return found

    def _number(self, text: str) -> int | None:
        """The number that a label may be meant as; None: it is a name, and not as places are written."""
        if (low := text.casefold()) in _BOOLEANS:
            return None if low in self._folded else int(_BOOLEANS[low])
        exact = text in self._names and not _PLACE.fullmatch(text) and self.given != "places"
        return None if exact or not is_number(text) else int(plain(text))

    def _name(self, text: str) -> str | None:
        if (low := text.casefold()) in _BOOLEANS:
            return self._names.get(text) or self._folded.get(low) or self._names.get(_BOOLEANS[low])
        return named(text, self._names)

    def _place(self, text: str) -> str | None:
        number = self._number(text)
        return None if number is None or not 0 <= number < len(self.classes) else self.classes[number]

    def _sorted(self) -> list[str]:
        return sorted(self._numbers, key=lambda text: self._number(text) or 0)

    def _is_hot(self, texts: Sequence[str]) -> bool:
        """Zeros and ones, one for each class."""
        if self.given in ("names", "places"):
            return False
        bits = list(map(_bit, texts))
        if len(bits) != len(self.classes) or None in bits:
            if self.given == "multihot":
                raise ValueError(f"{', '.join(texts)} is no vector of {len(self.classes)} zeros and ones")
            return False
        if self.given:
            return True
        if any(self._number(text) is None for text in texts) and all(map(self._name, texts)):
            return False  # names, such as 1.0
        if len(set(bits)) != len(bits) or "true" in texts or "false" in texts:
            return True
        raise ValueError(
            f"labels {', '.join(texts)} may be a multi-hot vector, or two names or places; say which: "
            "--numbers multihot, names or places"
        )

    def _mixed(self) -> str:
        word = self._word
        if self.given:
            return f"--numbers places, but not all labels are: {word!r} is a class's name"
        odd = next(text for text in self._numbers if self._name(text) is None)
        said = f"labels are partly names, partly numbers: {odd} is no class's name, but "
        if word is None:
            return f"{said}{next(t for t in self._numbers if self._place(t) is None)!r} is no place"
        hint = "; if all are places: --numbers places" if is_number(word) else ""
        return f"{said}{word!r} is one{hint}"

    def _stranger(self, text: str) -> str:
        if is_number(text):
            first = " (places count from 0)" if plain(text) == str(len(self.classes)) else ""
            first = "; leave the cell empty if the sample has no label" if text.startswith("-") else first
            place = "" if self.given == "names" else f", nor a place in them{first}"
            return f"label {text!r} is none of the {len(self.classes)} classes{place}"
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


def _bit(text: str) -> str | None:
    bit = _BOOLEANS.get(text, plain(text))
    return bit if bit in ("0", "1") else None
