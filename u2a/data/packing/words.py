"""Words for "missing" in cells: taken as missing where the person says so, else counted and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from u2a.common.values import missing_word

#: Samples that are remembered by key.
MOST_KEYS = 10_000


class MissingWords:
    """What cells say instead of nothing.

    Args:
        given: words that mean missing, in any case.
    """

    def __init__(self, given: Sequence[str] = ()) -> None:
        self._given = {word.strip().casefold() for word in given}
        self.clear()

    def clear(self) -> None:
        """Forget what was seen."""
        #: Cells that were taken as missing.
        self.taken = 0
        #: Modality to word to cells, and to the keys of samples, for words that were kept as they are.
        self.kept: dict[str, Counter[str]] = {}
        self.keys: dict[str, list[str]] = {}

    def means_missing(self, value: Any) -> bool:
        """Whether the person said that this cell is a missing one; counted."""
        found = bool(self._given) and isinstance(value, str) and value.strip().casefold() in self._given
        self.taken += found
        return found

    def look(self, modality: str, key: str, text: str) -> None:
        """Count a text that is kept if it is such a word."""
        if missing_word(text):
            self.kept.setdefault(modality, Counter())[text.strip()] += 1
            if len(keys := self.keys.setdefault(modality, [])) < MOST_KEYS:
                keys.append(key)

    def told(self) -> list[str]:
        """One line a modality."""
        lines = [f"{self.taken} cells were taken as missing (--missing-words)"] if self.taken else []
        for modality, words in self.kept.items():
            shown = ", ".join(f"{word!r} ({count})" for word, count in words.most_common(8))
            given = ",".join(words)
            lines.append(
                f"{words.total()} {modality} cells say {shown} and are kept as they are; if they mean that "
                f'{modality} is missing: --missing-words "{given}"'
            )
        return lines
