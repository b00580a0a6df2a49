"""One module's mutants against its tests: collected once, then a fork for each mutant.

A function's mutant is put in place of its code object, so that nothing is imported or collected again, and
into the file, for the processes that tests start. A mutant outside any function is tried with everything
imported anew.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest
from breaks import run_tests

from .operators import Mutant

SECONDS = 240
#: A child's exit status where the change needs everything imported anew.
ANEW = 77


def run_module(tree: Path, path: Path, mutants: list[Mutant], tests: list[str]) -> dict[str, str]:
    """Each mutant's name with ``killed``, ``survived`` or ``not run by any test``."""
    original = path.read_text()
    inside = [m for m in mutants if m.outermost is not None]
    result = tree / "mutants.pickle"
    result.unlink(missing_ok=True)
    session = _in_child(lambda: _session(tree, path, inside, tests, result), tree / "mutants.log", tree)
    if session != 0 or not result.exists():
        raise SystemExit(
            f"{path.name}: the tests fail as they are:\n{(tree / 'mutants.log').read_text()[-2000:]}"
        )
    fates: dict[str, str] = pickle.loads(result.read_bytes())
    for mutant in mutants:
        if fates.get(mutant.name, "anew") == "anew":
            path.write_text(mutant.source)
            passed, _ = run_tests(tree, tuple(tests))
            fates[mutant.name] = "survived" if passed else "killed"
    path.write_text(original)
    return fates


def _in_child(work: Callable[[], int], log: Path, tree: Path) -> int:
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


def _session(tree: Path, path: Path, mutants: list[Mutant], tests: list[str], result: Path) -> int:
    paths = [str(tree), str(tree / "plugins")]
    sys.path[:0] = paths
    sys.argv, sys.dont_write_bytecode = ["pytest"], True
    os.environ |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    options = [
        "-x",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    return int(pytest.main([*options, *tests], plugins=[_Plugin(tree, path, mutants, result)]))


class _Plugin:
    """Takes the place of pytest's loop over the collected tests."""

    def __init__(self, tree: Path, path: Path, mutants: list[Mutant], result: Path) -> None:
        self.tree, self.path, self.mutants, self.result = tree, path, mutants, result
        self.trace = _Trace(str(path))
        self.fixtures: dict[Any, set[int]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        with self.trace.collected() as lines:
            self.fixtures[fixturedef] = lines
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        ran = self.tree / "mutants.baseline"
        ran.unlink(missing_ok=True)
        if self._fork(lambda: self._baseline(session, ran)) != 0 or not ran.exists():
            session.testsfailed += 1
            return True
        lines, seconds = pickle.loads(ran.read_bytes())
        fates = {}
        for number, mutant in enumerate(self.mutants):
            chosen = [item for item in session.items if not lines[item.nodeid].isdisjoint(mutant.lines)]
            chosen.sort(key=lambda item: seconds[item.nodeid])
            fates[mutant.name] = self._try(session, mutant, chosen)
            if fates[mutant.name] != "killed":
                print(number, fates[mutant.name], mutant.name, flush=True)
        self.result.write_bytes(pickle.dumps(fates))
        return True

    def _try(self, session: pytest.Session, mutant: Mutant, items: list[pytest.Item]) -> str:
        if not items:
            return "not run by any test"
        original = self.path.read_text()
        self.path.write_text(mutant.source)
        try:
            status = self._fork(lambda: self._mutated(session, mutant, items))
        finally:
            self.path.write_text(original)
        return {0: "survived", ANEW: "anew"}.get(status, "killed")

    def _mutated(self, session: pytest.Session, mutant: Mutant, items: list[pytest.Item]) -> int:
        try:
            replace_code(self.path, mutant)
        except (LookupError, ValueError):  # such as another set of free variables
            return ANEW
        return self._run(session, items)

    def _run(self, session: pytest.Session, items: list[pytest.Item]) -> int:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return 1
        return 0

    def _baseline(self, session: pytest.Session, ran: Path) -> int:
        lines, seconds = {}, {}
        with self.trace:
            for item, following in zip(session.items, [*session.items[1:], None], strict=True):
                start = time.process_time()
                with self.trace.collected() as own:
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    return 1
                seconds[item.nodeid] = time.process_time() - start
                used = getattr(item, "_fixtureinfo", None)
                of = [d for ds in used.name2fixturedefs.values() for d in ds] if used else []
                lines[item.nodeid] = own.union(*(self.fixtures.get(d, set()) for d in of))
        ran.write_bytes(pickle.dumps((lines, seconds)))
        return 0

    def _fork(self, work: Callable[[], int]) -> int:
        def limited() -> int:
            os.setpgid(0, 0)
            signal.alarm(SECONDS)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS // 2, SECONDS))
            return work()

        return _in_child(limited, self.tree / "mutants.log", self.tree)


class _Trace:
    """Which lines of one file run; a line counts for every block that is open."""

    def __init__(self, path: str) -> None:
        self.path, self.open = path, [set[int]()]

    def __enter__(self) -> None:
        sys.settrace(self._call)
        threading.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    @contextmanager
    def collected(self) -> Iterator[set[int]]:
        lines: set[int] = set()
        self.open.append(lines)
        try:
            yield lines
        finally:
            self.open.remove(lines) if lines in self.open else None
            self.open[-1] |= lines

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename == self.path else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        self.open[-1].add(frame.f_lineno)
        return self._line


def replace_code(path: Path, mutant: Mutant) -> None:
    """Give the living function of a mutant its changed code."""
    assert mutant.outermost is not None
    changed = _find(compile(mutant.source, str(path), "exec"), mutant.outermost)
    living = [
        f
        for f in gc.get_objects()
        if type(f) is FunctionType  # isinstance would wake the proxies that warn
        and (code := f.__code__).co_filename == str(path)
        and (code.co_qualname, code.co_firstlineno) == (changed.co_qualname, changed.co_firstlineno)
    ]
    if not living:
        raise LookupError(mutant.outermost)
    for function in living:
        function.__code__ = changed


def _find(code: CodeType, qualname: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == qualname:
                return constant
            if qualname.startswith(constant.co_qualname + "."):
                return _find(constant, qualname)
    raise LookupError(qualname)
