"""Changes of some files against tests: collected once, then a fork for each change.

A changed function is put in place of its code object, so that nothing is imported or collected again, and
into the file, for the processes that tests start. Of the tests those that run the changed lines are run,
quickest first. A change outside any function is tried with everything imported anew.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import pytest

from .living import functions_of, import_file, replace_code
from .operators import Mutant
from .tree import in_child, pytest_in, run_tests

SECONDS = 900
#: A child's exit status where the change needs everything imported anew.
ANEW = 77
FAILING = "its tests fail as they are"
#: A file, and a line of it.
Line = tuple[str, int]


@dataclass(frozen=True)
class Change:
    """A file's change, and the tests that are asked."""

    path: Path
    mutant: Mutant
    tests: tuple[str, ...]


def run_changes(
    tree: Path, changes: Sequence[Change], tell: Callable[[str, str], None], *, again: bool
) -> dict[str, str]:
    """Each change's name with ``killed: TEST``, ``survived``, ``not run by any test`` or `FAILING`.

    Args:
        tell: is told each of them as soon as it is known.
        again: whether what survives is tried once more with everything imported anew.
    """

    def open_yet(fate: str) -> bool:
        return fate == "anew" or (again and fate != FAILING and not fate.startswith("killed"))

    result, log = tree / "changes.pickle", tree / "changes.log"
    for old in (result, log):
        old.unlink(missing_ok=True)
    plugin = _Plugin(tree, changes, result, lambda name, fate: None if open_yet(fate) else tell(name, fate))
    tests = tuple(dict.fromkeys(test for change in changes for test in change.tests))
    if in_child(lambda: pytest_in(tree, tests, [plugin]), log, tree) != 0 or not result.exists():
        raise SystemExit(f"the tests cannot be run:\n{log.read_text()[-2000:]}")
    fates: dict[str, str] = pickle.loads(result.read_bytes())
    for change in changes:
        name, fate = change.mutant.name, fates[change.mutant.name]
        if open_yet(fate):
            with _changed(change):
                passed, detail = run_tests(tree, change.tests)
            fates[name] = "survived" if passed else f"killed: {detail}"
            tell(name, fates[name])
    return fates


@contextmanager
def _changed(change: Change) -> Iterator[None]:
    original = change.path.read_text()
    change.path.write_text(change.mutant.source)
    try:
        yield
    finally:
        change.path.write_text(original)


class _Plugin:
    """Takes the place of pytest's loop over the collected tests."""

    def __init__(
        self, tree: Path, changes: Sequence[Change], result: Path, tell: Callable[[str, str], None]
    ) -> None:
        self.tree, self.changes, self.result, self.tell = tree, changes, result, tell
        self.trace = _Trace({line for change in changes for line in _lines_of(change)})
        self.fixtures: dict[Any, set[Line]] = {}
        #: By test: the changed lines that it runs, and its seconds.
        self.known: dict[str, tuple[set[Line], float]] = {}
        self.living: dict[str, list[FunctionType]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        with self.trace.collected() as lines:
            self.fixtures[fixturedef] = lines
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        paths = {change.path for change in self.changes}
        for path in paths:
            import_file(path, self.tree)
        self.living = functions_of(paths)  # here, since looking at every object makes a fork copy them all
        gc.freeze()
        fates = {}
        for tests, changes in groupby(self.changes, lambda change: change.tests):
            items = [item for item in session.items if _is_of(item.nodeid, tests)]
            passing = self._know([item for item in items if item.nodeid not in self.known], session)
            for change in changes:
                fate = self._try(session, change, items) if passing else FAILING
                fates[change.mutant.name] = fate
                self.tell(change.mutant.name, fate)
        self.result.write_bytes(pickle.dumps(fates))
        return True

    def _try(self, session: pytest.Session, change: Change, items: list[pytest.Item]) -> str:
        if change.mutant.outermost is None:
            return "anew"
        items = [item for item in items if not self.known[item.nodeid][0].isdisjoint(_lines_of(change))]
        items.sort(key=self._seconds)
        if not items:
            return "not run by any test"
        noticed = self.tree / "changes.noticed"
        noticed.write_text("(the end of the process)")
        with _changed(change):
            status = self._fork(lambda: self._changed_run(session, change, items, noticed))
        return {0: "survived", ANEW: "anew"}.get(status, f"killed: {noticed.read_text()}")

    def _changed_run(
        self, session: pytest.Session, change: Change, items: list[pytest.Item], noticed: Path
    ) -> int:
        try:
            replace_code(change.mutant, str(change.path), self.living)
        except (LookupError, ValueError):  # such as another set of free variables
            return ANEW
        return self._run(session, items, noticed)

    def _run(self, session: pytest.Session, items: list[pytest.Item], noticed: Path) -> int:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                noticed.write_text(item.nodeid)
                return 1
        return 0

    def _know(self, items: list[pytest.Item], session: pytest.Session) -> bool:
        """Run tests with nothing changed, twice; whether they pass.

        The second time as after a change: what fails then, such as in a folder that the first left, is no
        change's doing.
        """
        if not items:
            return True
        ran = self.tree / "changes.baseline"
        ran.unlink(missing_ok=True)
        if self._fork(lambda: self._baseline(session, items, ran)) != 0 or not ran.exists():
            return False
        self.known |= pickle.loads(ran.read_bytes())
        again = sorted(items, key=self._seconds)
        return self._fork(lambda: self._run(session, again, self.tree / "changes.noticed")) == 0

    def _seconds(self, item: pytest.Item) -> float:
        return self.known[item.nodeid][1]

    def _baseline(self, session: pytest.Session, items: list[pytest.Item], ran: Path) -> int:
        known = {}
        with self.trace:
            for item, following in zip(items, [*items[1:], None], strict=True):
                start = time.process_time()
                with self.trace.collected() as own:
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    return 1
                used = getattr(item, "_fixtureinfo", None)
                of = [d for ds in used.name2fixturedefs.values() for d in ds] if used else []
                lines = own.union(*(self.fixtures.get(d, set()) for d in of))
                known[item.nodeid] = lines, time.process_time() - start
        ran.write_bytes(pickle.dumps(known))
        return 0

    def _fork(self, work: Callable[[], int]) -> int:
        def limited() -> int:
            os.setpgid(0, 0)
            signal.alarm(SECONDS)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS // 2, SECONDS))
            return work()

        return in_child(limited, self.tree / "changes.log", self.tree)


def _lines_of(change: Change) -> set[Line]:
    return {(str(change.path), line) for line in change.mutant.lines}


def _is_of(nodeid: str, tests: Sequence[str]) -> bool:
    """Whether a test is one of these files, folders, functions, or single cases."""
    return any(nodeid == test or nodeid.startswith((f"{test}/", f"{test}::", f"{test}[")) for test in tests)


class _Trace:
    """Which of these lines run; a line counts for every block that is open."""

    def __init__(self, wanted: set[Line]) -> None:
        self.wanted, self.paths, self.open = wanted, {path for path, _ in wanted}, [set[Line]()]

    def __enter__(self) -> None:
        sys.settrace(self._call)
        threading.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    @contextmanager
    def collected(self) -> Iterator[set[Line]]:
        lines: set[Line] = set()
        self.open.append(lines)
        try:
            yield lines
        finally:
            self.open.remove(lines) if lines in self.open else None
            self.open[-1] |= lines

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if frame.f_code.co_filename in self.paths else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        if (line := (frame.f_code.co_filename, frame.f_lineno)) in self.wanted:
            self.open[-1].add(line)
        return self._line
