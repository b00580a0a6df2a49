"""A copy of the tree that may be broken, and tests run in it with everything of u2a imported anew."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
# Once for all forks: most of what a small test file costs.
import peft
import pytest
import safetensors.torch
import sklearn.linear_model
import torch
import torchmetrics.functional.classification
import torchvision
import transformers.models.auto.modeling_auto

IMPORTED = (peft, safetensors, sklearn, torch, torchmetrics, torchvision, transformers)
ROOT = Path(__file__).parents[2]
SECONDS = 900


def copy_tree(to: Path) -> None:
    """The tracked files as they are now, and those that git does not know yet."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)


def run_tests(tree: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether all pass, and the first that did not.

    In a fork of this process, which has imported what takes long, and nothing of u2a.
    """
    log = tree / "tests.log"
    log.unlink(missing_ok=True)
    status = in_child(lambda: _fresh(tree, tests), log, tree)
    output = log.read_text(errors="replace")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
    if status == -signal.SIGALRM:
        return False, f"(no end after {SECONDS} s)"
    return status == 0, failed[1] if failed else output[-300:]


def in_child(work: Callable[[], int], log: Path, tree: Path) -> int:
    """The exit status of a fork that works in the tree and prints into the log."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            with log.open("ab") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.chdir(tree)
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def pytest_in(tree: Path, tests: tuple[str, ...], plugins: list[object] | None = None) -> int:
    """pytest's exit code with the tree's own u2a, in a process that has imported none."""
    paths = [str(path) for path in (tree, tree / "plugins", *own_packages(tree))]
    sys.path[:0] = paths
    sys.argv, sys.dont_write_bytecode = ["pytest"], True
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    rooted = f"--rootdir={tree}"  # else a package of its own names its tests from its own folder
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", rooted]
    imported_early = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, *imported_early, *tests], plugins=plugins))


def own_packages(tree: Path) -> list[Path]:
    """The folders of plugins that are packages of their own; their modules lie one folder deeper."""
    return [path.parent for path in sorted(tree.glob("plugins/*/pyproject.toml"))]


def _fresh(tree: Path, tests: tuple[str, ...]) -> int:
    signal.alarm(SECONDS)
    code = pytest_in(tree, tests)
    import u2a

    return code if Path(u2a.__file__).is_relative_to(tree) else 4
