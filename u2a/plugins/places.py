"""Global state of a process that the import of a plugin may change: how each piece is read and put back."""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from u2a.plugins.place import Place
from u2a.plugins.places_of_torch import TORCH


def _write_environment(_: ModuleType, before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)
    if hasattr(time, "tzset"):
        time.tzset()


def _write_path(_: ModuleType, before: list[str]) -> None:
    """As it was, with what is new behind it: a plugin may bring a folder of its own, but shadow nothing."""
    sys.path[:] = [*before, *dict.fromkeys(one for one in sys.path if one not in before)]


def _write_finders(_: ModuleType, before: list[Any]) -> None:
    """As with `sys.path`: a plugin may find modules that nobody else does, but none before others."""
    sys.meta_path[:] = [*before, *(one for one in sys.meta_path if one not in before)]


_SIGNALS = tuple(map(int, signal.valid_signals()))
#: Without the enums that the public function makes, which take ten times as long.
_getsignal: Callable[[int], Any] = getattr(signal.getsignal, "__wrapped__", signal.getsignal)


def _read_signals(_: ModuleType) -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}  # handlers can be set on the main thread only
    found = map(_getsignal, _SIGNALS)
    return {number: handler for number, handler in zip(_SIGNALS, found, strict=True) if handler is not None}


def _write_signals(_: ModuleType, before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if _getsignal(number) is not handler:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, handler)


def _read_umask(_: ModuleType) -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_builtins(_: ModuleType, before: dict[str, Any]) -> None:
    names = vars(builtins)
    names.update(before)  # never without any of them, not even for a moment
    for name in names.keys() - before.keys():
        del names[name]


def _read_logging(logging: Any) -> tuple[Any, ...]:
    root = logging.getLogger()
    return list(root.handlers), list(root.filters), root.level, root.manager.disable


def _write_logging(logging: Any, before: tuple[Any, ...]) -> None:
    root = logging.getLogger()
    root.handlers[:], root.filters[:], level, disabled = before
    root.setLevel(level)
    logging.disable(disabled)


def _read_decimal(context: Any) -> dict[str, Any]:
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    traps = [signal for signal, on in context.traps.items() if on]
    return {**{name: getattr(context, name) for name in names}, "traps": traps}


def _write_gc(_: ModuleType, before: tuple[bool, tuple[int, int, int]]) -> None:
    (gc.enable if before[0] else gc.disable)()
    gc.set_threshold(*before[1])


_HOOKS = ("excepthook", "displayhook", "unraisablehook")


def _locale() -> Any:
    import _locale as c_locale  # what `locale` is made of; loads nothing

    return c_locale


PLACES = (
    Place(
        "the recursion limit",
        lambda s: s.getrecursionlimit(),
        lambda s, before: s.setrecursionlimit(before),
    ),
    Place("the working folder", lambda _: os.getcwd(), lambda _, before: os.chdir(before)),
    Place("the environment", lambda _: dict(os.environ), _write_environment),
    Place("sys.path", lambda _: list(sys.path), _write_path),
    Place(
        "sys.meta_path",
        lambda s: list(s.meta_path),
        _write_finders,
        same=lambda now, before: now[: len(before)] == before,  # libraries add theirs behind
    ),
    Place("signal handlers", _read_signals, _write_signals),
    Place("the umask", _read_umask, lambda _, before: os.umask(before)),
    Place("built-in functions", lambda _: dict(vars(builtins)), _write_builtins),
    Place("logging", _read_logging, _write_logging, "logging"),
    Place(
        "the switch interval", lambda s: s.getswitchinterval(), lambda s, before: s.setswitchinterval(before)
    ),
    Place(
        "sys.excepthook",
        lambda s: [getattr(s, name) for name in _HOOKS],
        lambda s, before: vars(s).update(zip(_HOOKS, before, strict=True)),
    ),
    Place(
        "the garbage collector",
        lambda _: (gc.isenabled(), gc.get_threshold()),
        _write_gc,
    ),
    Place(
        "the locale",
        lambda _: _locale().setlocale(_locale().LC_ALL, None),
        lambda _, before: _locale().setlocale(_locale().LC_ALL, before),
    ),
    Place("random's seed", lambda m: m.getstate(), lambda m, before: m.setstate(before), "random"),
    Place(
        "the start method of processes",
        lambda m: m.get_start_method(allow_none=True),
        lambda m, before: m.set_start_method(before, force=True),
        "multiprocessing",
    ),
    Place(
        "the default timeout of sockets",
        lambda m: m.getdefaulttimeout(),
        lambda m, x: m.setdefaulttimeout(x),
        "socket",
    ),
    Place(
        "decimal's context",
        lambda m: _read_decimal(m.getcontext()),
        lambda m, x: m.setcontext(m.Context(**x)),
        "decimal",
    ),
    Place("numpy's error state", lambda m: m.geterr(), lambda m, before: m.seterr(**before), "numpy"),
    Place("numpy's seed", lambda m: m.get_state(legacy=False), lambda m, x: m.set_state(x), "numpy.random"),
    Place(
        "matplotlib's settings",
        lambda m: dict.copy(m.rcParams),
        lambda m, x: dict.update(m.rcParams, x),
        "matplotlib",
    ),
    *TORCH,
)
LIBRARIES = frozenset(place.module for place in PLACES)
