"""Importing a plugin changes nothing for anybody else: global state is recorded before and put back after.

Python has no walls between packages: a plugin that no recipe uses may set torch's default dtype, leave the
working folder or turn warnings into errors. Threads and exit functions are named by `u2a.plugins.left_behind`;
a library that was patched is not looked after.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from u2a.plugins.places import LIBRARIES, PLACES, Place


class _Recorder:
    """Records a library's state at the moment that it has been imported, before its importer can change it."""

    def __init__(self, record: Callable[[str], None]) -> None:
        self.record = record
        self.filters: list[Any] = []  # warnings filters of the libraries' own
        self.awaited = set(LIBRARIES - set(sys.modules))

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if name not in self.awaited:
            return None
        self.awaited.remove(name)
        spec = importlib.util.find_spec(name)
        execute = getattr(spec and spec.loader, "exec_module", None)
        if spec is None or execute is None:
            return spec

        def exec_module(module: ModuleType) -> None:
            before = list(warnings.filters)
            execute(module)
            self.filters += [one for one in warnings.filters if one not in before]
            self.record(name)

        with contextlib.suppress(AttributeError):  # a loader that takes no attributes: its library is trusted
            spec.loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
        return spec


@contextlib.contextmanager
def put_back(changed: list[str]) -> Iterator[None]:
    """Leave global state as it was when the block began, or when the library that it belongs to was imported.

    Inside, standard output goes to standard error and standard input is empty.

    Args:
        changed: gets the names of what was changed and put back.
    """
    before: dict[Place, Any] = {}

    def record(module: str) -> None:
        for place in PLACES:
            if place.module == module:
                with contextlib.suppress(Exception):  # no working folder, no such flag in this version
                    before[place] = place.read(sys.modules[module])

    for name in LIBRARIES & set(sys.modules):
        record(name)
    recorder = _Recorder(record)
    sys.meta_path.insert(0, recorder)  # type: ignore[arg-type]
    try:
        with _streams(changed), _warnings(changed):
            yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(recorder)  # type: ignore[arg-type]
        warnings.filters[:0] = [one for one in recorder.filters if one not in warnings.filters]  # type: ignore[index]
        for place in PLACES:
            with contextlib.suppress(Exception):
                module = sys.modules[place.module]
                if place in before and not (place.same or _same)(place.read(module), before[place]):
                    changed.append(place.name)
                    place.write(module, before[place])


def _same(now: Any, before: Any) -> bool:
    with contextlib.suppress(ValueError, RuntimeError):  # arrays and tensors compare entry by entry
        return bool(now == before)
    if isinstance(before, dict):
        return now.keys() == before.keys() and all(_same(now[key], before[key]) for key in before)
    return bool((now == before).all())


@contextlib.contextmanager
def _warnings(changed: list[str]) -> Iterator[None]:
    before = list(warnings.filters)
    with warnings.catch_warnings():
        yield
        if list(warnings.filters) != before:
            changed.append("warnings filters")


@contextlib.contextmanager
def _streams(changed: list[str]) -> Iterator[None]:
    """What is printed, by whatever means, goes to standard error; ``input()`` finds nothing."""
    before = sys.stdin, sys.stdout, sys.stderr
    with open(os.devnull, encoding="utf-8") as nothing, _descriptor():
        sys.stdin, sys.stdout = nothing, sys.stderr
        try:
            yield
        finally:
            if sys.stdin is not nothing or sys.stdout is not before[2] or sys.stderr is not before[2]:
                changed.append("sys.stdin, sys.stdout or sys.stderr")
            sys.stdin, sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _descriptor() -> Iterator[None]:
    """Point file descriptor 1 to standard error; libraries in C and other programs print there."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # closed
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stderr.flush()
        os.dup2(kept, 1)
        os.close(kept)
