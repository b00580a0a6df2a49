"""Names of columns: how they are compared, and which of them a recipe does not know."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from u2a.common.hints import alike
from u2a.common.values import is_blank, nfc, short
from u2a.errors import U2AError

#: Columns that every manifest may have.
OWN = ("key", "split", "label", "labels", "group")
#: How alike two names are that may be one.
ALIKE = 0.8
#: Spreadsheets break long names into lines.
_BREAK = re.compile(r"\s*[\r\n]+\s*")
#: Byte order mark, characters without width, direction marks: what a copied header may begin or end with.
_UNSEEN = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"


def column_name(raw: str) -> str:
    """A name of a column as it is compared: on one line, without outer white space and marks that nobody sees,
    composed."""
    name = _BREAK.sub(" ", raw.strip().strip(_UNSEEN))
    return nfc(name if name == raw else column_name(name))


def check_columns(path: Path, names: Sequence[str], required: Collection[str], how: str = "") -> None:
    """The columns that a table must have, each once.

    Raises:
        U2AError: names the one that is not there, and those that are.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise U2AError(f"{path}: column {twice[0]!r} is there twice")
    for name in required:
        if name not in names:
            if not names:
                raise U2AError(f"{path}: has no header: its first line is empty")
            shown = ", ".join(map(short, names[:20])) + (" ..." if len(names) > 20 else "")
            raise U2AError(f"{path}: has no column {name!r}; its columns{how} are {shown}")


class Columns:
    """The columns that a recipe knows, and what rows have beside them.

    Args:
        modalities: each has a column of its name, and one with ``_path``.
        ignored: columns that the person leaves out.
    """

    def __init__(self, modalities: Collection[str], ignored: Collection[str] = ()) -> None:
        self._same = {name: name for name in OWN} | {"labels": "label"}
        self._same |= {f"{name}{end}": name for name in modalities for end in ("", "_path")}
        self._ignored = {column_name(name) for name in ignored}
        self._near: dict[str, str | None] = {}
        #: Rows that hold something under a name that nobody knows.
        self.unknown: Counter[str] = Counter()

    def wanted(self, name: str) -> bool:
        """Whether a column is worth reading: it is known, or may be meant for one that is."""
        return name in self._same or (name not in self._ignored and self._nearest(name) is not None)

    def faults(self, fields: Mapping[str, Any]) -> Iterator[str]:
        """Values of one row under misspelt names, which would be lost without a word."""
        if fields.keys() <= self._same.keys():
            return
        for name in fields.keys() - self._same.keys() - self._ignored:
            if is_blank(fields[name]):
                continue
            if len(self.unknown) < 1000:
                self.unknown[name] += 1
            near = self._nearest(name)
            if near is not None and not self._has(fields, self._same[near]):
                yield (
                    f"column {name!r} is none that the recipe knows, and there is no {self._same[near]!r} "
                    f"here; did you mean {near!r}? Rename it, or leave it out with --ignore {name!r}"
                )

    def told(self) -> list[str]:
        """Columns that were not used, with the rows that had something there."""
        found = [f"{name!r} ({count} rows)" for name, count in self.unknown.most_common(20)]
        more = " ..." if len(self.unknown) > 20 else ""
        return (
            [f"columns that the recipe does not know are left out: {', '.join(found)}{more}"] if found else []
        )

    def _has(self, fields: Mapping[str, Any], column: str) -> bool:
        names = [name for name, same in self._same.items() if same == column]
        return any(not is_blank(fields.get(name)) for name in names)

    def _nearest(self, name: str) -> str | None:
        if name not in self._near:
            if len(self._near) > 10_000:  # names that are data, in a file that nobody checked
                self._near.clear()
            plain = {_plain(known): known for known in self._same}
            close = alike(_plain(name), plain, cutoff=ALIKE)
            self._near[name] = plain[close[0]] if close else None
        return self._near[name]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
