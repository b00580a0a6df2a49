"""``python WORDS`` in processes of their own that need not import torch again: forks of the one that tests.

Most of what a short process costs is importing torch and transformers. What is imported, and what a test has
replaced, is so in a fork too; signals, exit codes, open files and kills are those of any process. With a GPU
each is begun anew: PyTorch's autograd refuses to work on in a fork.
"""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from u2a.plugins.loading import forget
from u2a.training import grid

#: What takes long to import, and is imported where it is needed.
EARLY = ("u2a.training.start", "u2a.report.write", "transformers.models.auto.modeling_auto", "torchvision")


class Python:
    """``python WORDS``, started and going on.

    Args:
        words: ``-m MODULE ...``, ``-c CODE ...`` or ``SCRIPT ...``.
        cwd: its working folder.
        env: what is set in its environment, beside what is set in this one.
    """

    def __init__(self, *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - `wait` closes
        for name in EARLY:
            importlib.import_module(name)
        given = [str(word) for word in words]
        self._forked = self._fresh = None
        if torch.cuda.is_available():
            whole = {**os.environ, **(env or {})}
            self._fresh = subprocess.Popen(
                [sys.executable, *given], stdout=self._out, stderr=self._err, cwd=cwd, env=whole
            )
        else:
            files = self._out.fileno(), self._err.fileno()
            fork: Any = multiprocessing.get_context("fork")
            self._forked = fork.Process(target=_begin, args=(given, cwd, env or {}, *files))
            self._forked.start()

    @property
    def pid(self) -> int:
        return (self._forked or self._fresh).pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it goes on."""
        return self._forked.exitcode if self._forked else self._fresh.poll()

    def kill(self) -> None:
        (self._forked or self._fresh).kill()

    def wait(self, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Its end, and what it printed."""
        if self._forked:
            self._forked.join(seconds)
        else:
            self._fresh.wait(seconds)
        code = self.poll()
        assert code is not None, f"no end after {seconds} s"
        return subprocess.CompletedProcess([], code, _text(self._out), _text(self._err))


def python(*words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Any:
    """``python WORDS`` from its beginning to its end."""
    return Python(*words, cwd=cwd, env=env).wait()


def as_forks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let what `u2a sweep` and `u2a baselines` start be forks; the commands will be in the list."""
    commands: list[list[str]] = []

    def start(command: list[str], stdout: int) -> Any:
        assert (command[0], stdout) == (sys.executable, 2)
        commands.append(command)
        begun = Python(*command[1:])
        return SimpleNamespace(wait=lambda: begun.wait().returncode)

    monkeypatch.setattr(grid, "subprocess", SimpleNamespace(Popen=start))
    return commands


def _text(file: Any) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


def _begin(words: list[str], cwd: Path | None, env: Mapping[str, str], out: int, err: int) -> None:
    for number, name, file in ((1, "stdout", out), (2, "stderr", err)):
        os.dup2(file, number)
        setattr(sys, name, io.TextIOWrapper(io.FileIO(number, "w", closefd=False), line_buffering=True))
    os.environ.update(env)
    if "PYTHONPATH" in env:
        forget()  # other plugins may be there
    if cwd:
        os.chdir(cwd)
    sys.meta_path[:] = [one for one in sys.meta_path if "pytest" not in type(one).__module__]
    warnings.resetwarnings()
    for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", quiet)  # as Python begins
    torch.set_num_threads(1)  # a fork has none of the pool's other threads
    kind, rest = (words[0], words[1:]) if words[0] in ("-m", "-c") else ("", words)
    sys.argv = rest
    sys.path[:0] = [
        *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)),
        "" if kind else str(Path(rest[0]).parent),
    ]
    if kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(rest[0], run_name="__main__")
