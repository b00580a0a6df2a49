"""Break u2a on purpose, one line at a time, and see a test fail: what the tests guard, and proof that they do.

usage: python scripts/breaks.py [WORD...]     only the breaks with any of these words; all: `make breaks`

`breaks.toml` lists the breaks: what goes wrong, where, the old text (found once, or the list is old), the
new text, and the test files that must notice. Each is made in a copy of the tree; nothing here is touched.
"""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from mutation.operators import change_of
from mutation.running import Change, run_changes
from mutation.tree import ROOT, copy_tree


@dataclass(frozen=True)
class Break:
    """One way to break u2a, and the test files that must notice."""

    what: str
    where: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_breaks() -> list[Break]:
    """Every break of ``breaks.toml``."""
    document = tomllib.loads((ROOT / "scripts/breaks.toml").read_text())
    groups = document["tests"]
    return [Break(b["what"], b["where"], b["old"], b["new"], tuple(groups[b["by"]])) for b in document["break"]]


def find(tree: Path, one: Break) -> Path | str:
    """The file with the old text, or why there is no one such place."""
    place = tree / one.where
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    found = [path for path in files if path.is_file() for _ in range(path.read_text().count(one.old))]
    return found[0] if len(found) == 1 else f"the old text is {len(found)} times under {one.where}"


def make(tree: Path, one: Break) -> Change | str:
    """The change of a file, or why it cannot be made."""
    path = find(tree, one)
    if isinstance(path, str):
        return path
    return Change(path, change_of(path.read_text(), one.old, one.new, one.what), one.tests)


def main(words: list[str]) -> int:
    """Make the chosen breaks one by one; 1 if any goes unnoticed."""
    chosen = [one for one in read_breaks() if not words or any(word in one.what for word in words)]
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")  # a fork that runs tests prints elsewhere

    def tell(what: str, fate: str) -> None:
        noticed = fate.startswith("killed: ")
        print(f"{what:<62} {fate.removeprefix('killed: ') if noticed else fate.upper()}", file=out, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve()
        copy_tree(tree)
        made = {one.what: make(tree, one) for one in sorted(chosen, key=lambda one: one.tests)}
        changes = [change for change in made.values() if isinstance(change, Change)]
        fates = {what: f"cannot be made: {why}" for what, why in made.items() if isinstance(why, str)}
        for what, why in fates.items():
            tell(what, why)
        fates |= run_changes(tree, changes, tell, again=True)
    missed = sum(not fate.startswith("killed: ") for fate in fates.values())
    print(f"{len(chosen)} breaks, {missed} of them not noticed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
