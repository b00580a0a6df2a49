"""Break u2a on purpose, one line at a time, and see a test fail: what the tests guard, and proof that they do.

usage: python scripts/breaks.py [WORD...]     only the breaks with any of these words; all: `make breaks`

`breaks.toml` lists the breaks: what goes wrong, where, the old text (found once, or the list is old), the
new text, and the test files that must notice. Each is made in a copy of the tree; nothing here is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
import traceback
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
# Once for all breaks: most of what a small test file costs.
import peft
import pytest
import safetensors.torch
import torch
import torchmetrics.functional.classification
import transformers

IMPORTED = (peft, safetensors, torch, torchmetrics, transformers)
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
    """Whether all pass, and the first that did not.

    In a fork of this process, which has imported what takes long, and nothing of u2a.
    """
    log = tree / "breaks.log"
    child = os.fork()
    if child == 0:
        _test_and_exit(tree, tests, log)
    _, status = os.waitpid(child, 0)
    output = log.read_text(errors="replace")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
    if os.waitstatus_to_exitcode(status) == -signal.SIGALRM:
        return False, f"(no end after {SECONDS} s)"
    return status == 0, failed[1] if failed else output[-300:]


def _test_and_exit(tree: Path, tests: tuple[str, ...], log: Path) -> None:
    signal.alarm(SECONDS)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    paths = [str(tree), str(tree / "plugins")]
    sys.path[:0] = paths
    sys.argv, sys.dont_write_bytecode = ["pytest"], True
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    code = 3
    try:
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
        imported_early = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*options, *imported_early, *tests]))
        import u2a

        code = code if Path(u2a.__file__).is_relative_to(tree) else 4
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


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
        tree = Path(folder).resolve()
        copy_tree(tree)
        whole = tuple(sorted({test for one in chosen for test in one.tests}))
        passed, detail = (True, "") if words else run_tests(tree, whole)
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
