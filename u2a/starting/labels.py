"""Label cells as class names: one or several a sample, numbers as names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from u2a.common.values import missing_word, short
from u2a.data.shards.labels import is_number, label_texts, plain
from u2a.errors import U2AError
from u2a.starting.columns import Column, empty

#: Columns that are called so may well hold several labels a cell.
PLURAL = ("labels", "classes", "categories", "tags", "genres", "genre")


class Labels:
    """Label cells as class names, in one reading of all rows.

    Args:
        named: words for nothing that are classes.

    Attributes:
        many: whether a sample may have several.
        counts: samples by class.
        words: cells that were taken as no label, by the word for nothing that they hold.
    """

    def __init__(self, column: Column, path: str, named: Collection[str] = ()) -> None:
        self.column, self.path, self.named = column, path, named
        self.words: Counter[str] = Counter()
        self.separator = self._separator()
        lists = any(text.lstrip()[:1] == "[" for text in self._texts())
        self.many = lists or self.separator is not None
        self.counts: Counter[str] = Counter()

    def _separator(self) -> str | None:
        """What separates several labels in one cell, if anything does."""
        texts = {text.strip() for text in self._texts() if text.lstrip()[:1] != "["}
        plural = self.column.name.casefold() in PLURAL
        return next((s for s in "|;, " if _separates(s, texts, plural or s == "|")), None)

    def _texts(self) -> Collection[str]:
        """Every different cell as text, be it in the first rows or the last; the first ones of very many."""
        if self.column.counts is not None:
            return self.column.counts
        return [str(value) for value in self.column.examples]

    def begin(self) -> None:
        """Count anew."""
        self.counts.clear()
        self.words.clear()

    def none(self, value: Any) -> bool:
        """Whether a cell says that there is no label; words for nothing are counted."""
        if isinstance(value, str) and missing_word(value) and value.strip() not in self.named:
            self.words[value.strip()] += 1
            return True
        return empty(value)

    def read(self, place: str, value: Any) -> tuple[str, ...]:
        """The classes of one sample, counted.

        Raises:
            U2AError: the cell is no label.
        """
        if self.separator and isinstance(value, str):
            value = [part.strip() for part in value.split(self.separator) if part.strip()]
        try:
            texts = tuple(dict.fromkeys(map(_class, label_texts(value) or ())))
        except ValueError as error:
            numbers = "; u2a predicts classes, not quantities" if self.column.numeric else ""
            raise U2AError(f"{self.path}: {place}: column {self.column.name!r}: {error}{numbers}") from None
        self.counts.update(texts)
        return texts

    def told(self) -> list[str]:
        """Classes that may be meant as one."""
        alike: dict[str, list[str]] = {}
        for name in sorted(self.counts):
            alike.setdefault(name.casefold(), []).append(name)
        said = [_words(self.words)] if self.words else []
        pairs = [" and ".join(map(short, same)) for same in alike.values() if len(same) > 1]
        if pairs:
            said.append(f"classes that differ by case alone, and count as several: {', '.join(pairs[:10])}")
        return said

    def classes(self) -> list[str]:
        """The class names, numbers by size, texts by the alphabet.

        Raises:
            U2AError: there are fewer than two, or nearly as many as samples.
        """
        names = list(self.counts)
        if len(names) < 2:
            found = f"only {short(names[0])}" if names else "no label"
            hint = f" ({_words(self.words)})" if self.words else ""
            raise U2AError(
                f"{self.path}: column {self.column.name!r} holds {found}; two classes are needed{hint}"
            )
        if self.many and {"0", "1", "true", "false"} >= set(names):
            raise U2AError(
                f"{self.path}: column {self.column.name!r} holds vectors of zeros and ones, which do not say "
                "how their classes are called: write the names into its cells, or a recipe with them by hand"
            )
        if len(names) > 20 and len(names) > self.counts.total() / 2:
            kind = "numbers: u2a predicts classes, not quantities" if self.column.numeric else "labels"
            raise U2AError(
                f"{self.path}: column {self.column.name!r} holds {len(names)} different values in "
                f"{self.counts.total()} rows, too many {kind}; name another one with --label COLUMN"
            )
        whole = all(map(is_number, names))
        return sorted(names, key=int) if whole else sorted(names)


def _separates(separator: str, texts: Collection[str], meant: bool) -> bool:
    """Whether a separator makes lists of few names out of cells.

    Args:
        meant: the column's name, or a bar, says that there are several. Else numbers of names must vary, and
            half of the names be cells of their own: "Portland, ME" is one. Spaces must save half of the names.
            Parts that no other cell has are one name, "Health, Beauty", unless a bar is between them.
    """
    lists = [text.split(separator) for text in texts]
    cells = Counter(part for parts in lists for part in {part.strip() for part in parts})
    atoms = set(cells)
    if len(set(map(len, lists)) - {1}) < 1 or (separator == " " and not meant):
        return False
    parted = (part.strip() for parts in lists if len(parts) > 1 for part in parts)
    if separator != "|" and all(cells[part] < 2 for part in parted):
        return False
    if meant:
        return (2 if separator == " " else 1) * len(atoms) <= len(texts) + (separator != " ")
    return len(atoms) < len(texts) and 2 * len(atoms & set(texts)) >= len(atoms)


def _class(text: str) -> str:
    """Texts of Booleans are one class each, whichever program wrote them, and so are whole numbers."""
    return text.lower() if text.lower() in ("true", "false") else plain(text)


def _words(words: Mapping[str, int]) -> str:
    shown = ", ".join(f"{word!r} ({count})" for word, count in words.items())
    return f"labels that say {shown} were taken as none; if that is a class: --class {next(iter(words))!r}"
