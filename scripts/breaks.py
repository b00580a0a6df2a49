"""Break u2a on purpose, one line at a time, and see a test fail: what the tests guard, and proof that they do.

usage: python scripts/breaks.py [WORD...]     only the breaks with any of these words; see `make breaks`

`breaks.toml` lists the breaks: what goes wrong, where, the old text (found once, or the list is old), the
new text, and the test files that must notice. Each is made in a copy of the tree; nothing here is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 900


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


def copy_tree(to: Path) -> None:
    """The tracked files as they are now, and those that git does not know yet."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)


def find(tree: Path, one: Break) -> Path | str:
    """The file with the old text, or why there is no one such place."""
    place = tree / one.where
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    found = [path for path in files if path.is_file() for _ in range(path.read_text().count(one.old))]
    return found[0] if len(found) == 1 else f"the old text is {len(found)} times under {one.where}"


def run_tests(tree: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether all pass, and the first that did not."""
    paths = os.pathsep.join([str(tree), str(tree / "plugins")])
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False, f"(no end after {SECONDS} s)"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    return done.returncode == 0, failed[1] if failed else (done.stdout + done.stderr)[-300:]


def check(tree: Path, one: Break) -> tuple[bool, str]:
    """Whether a test noticed, and which; the tree is as it was afterwards."""
    path = find(tree, one)
    if isinstance(path, str):
        return False, f"CANNOT BE MADE: {path}"
    before = path.read_text()
    path.write_text(before.replace(one.old, one.new))
    try:
        passed, detail = run_tests(tree, one.tests)
    finally:
        path.write_text(before)
    return (False, f"NOT NOTICED by {', '.join(one.tests)}") if passed else (True, detail)


def main(words: list[str]) -> int:
    """Make the chosen breaks one by one; 1 if any goes unnoticed."""
    chosen = [one for one in read_breaks() if not words or any(word in one.what for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        passed, detail = run_tests(tree, tuple(sorted({test for one in chosen for test in one.tests})))
        if not passed:
            print(f"the tests fail with nothing broken: {detail}")
            return 1
        for one in chosen:
            noticed, detail = check(tree, one)
            missed += not noticed
            print(f"{one.what:<62} {detail}", flush=True)
    print(f"{len(chosen)} breaks, {missed} of them not noticed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
