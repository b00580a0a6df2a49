"""Files that lie elsewhere than the cells of a column say: all moved in one way, or some of them are lost.

A table from another machine names its files with folders that are not here, and all of them alike. Where only
some cells find no file, theirs are missing, and a file of the same name in another folder is another file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from u2a.common.values import nfc

Move = tuple[str, str]
"""What a path begins with as it is written, and what it begins with here; the rest is the same."""


@dataclass
class Moved:
    """The cells of one column that name their file by the end of its path or by its name.

    Attributes:
        stands: whether a cell that names a folder finds its file just there.
        cells: the path that each other cell found, by place and text.
    """

    stands: bool = False
    cells: dict[tuple[str, str], str] = field(default_factory=dict)

    def lost(self) -> Iterator[tuple[str, str, str]]:
        """The cells that found another file than theirs: place, text, and whose file it is."""
        odd = _odd(Counter(_move(value, path) for (_, value), path in self.cells.items()))
        owner: dict[str, str] = {}
        for (place, value), path in self.cells.items():
            first = owner.setdefault(path, value)
            if _plain(first) != _plain(value):
                yield place, value, f"{path} is what {first!r} names"
            elif "/" in _plain(value) and (self.stands or _move(value, path) in odd):
                yield place, value, f"{path} has its name, but other files lie where the column says"


def _odd(moves: Counter[Move]) -> set[Move]:
    """Moves that lead elsewhere than those of most others.

    Either others that were written below the same folder kept more of their path, or files written so have
    another place, and this one is that of files that are written otherwise.
    """
    most_from, most_to = Counter[str](), Counter[str]()
    for (before, here), count in moves.items():
        most_from[before] = max(most_from[before], count)
        most_to[here] = max(most_to[here], count)

    def is_odd(before: str, here: str, count: int) -> bool:
        above = max((most_from[parent] for parent in _parents(before)), default=0)
        return above >= count or min(most_from[before], most_to[here]) > count

    return {(before, here) for (before, here), count in moves.items() if is_odd(before, here, count)}


def _parents(folder: str) -> Iterator[str]:
    while folder:
        folder = folder.rpartition("/")[0]
        yield folder


def _move(value: str, path: str) -> Move:
    written, here = _plain(value).split("/"), nfc(path).casefold().split("/")
    while written and here and written[-1] == here[-1]:
        written.pop()
        here.pop()
    return "/".join(written), "/".join(here)


def _plain(value: str) -> str:
    return nfc(value.strip().replace("\\", "/").removeprefix("./")).casefold()
