"""What a plugin's import leaves running: threads, and functions that run when the process ends.

Neither can be taken back without breaking a plugin that needs them, so they are named, and what an exit
function prints goes to standard error: standard output may hold JSON for a program.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any


class _AtExit:
    """An exit function that prints to standard error; equal to the function, so that it can be unregistered."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with contextlib.redirect_stdout(sys.stderr):
            return self.function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return self.function == (other.function if isinstance(other, _AtExit) else other)

    def __hash__(self) -> int:
        return hash(self.function)


@contextlib.contextmanager
def left_behind(found: list[str], package: str) -> Iterator[None]:
    """Name what the block leaves running; of exit functions, those of `package` alone, not its libraries'.

    Args:
        found: gets a sentence for each kind.
        package: the plugin's top-level module.
    """
    threads, register = set(threading.enumerate()), atexit.register
    functions: list[str] = []

    def noting(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if str(sys._getframe(1).f_globals.get("__name__")).partition(".")[0] != package:
            return register(function, *args, **kwargs)
        functions.append(getattr(function, "__name__", type(function).__name__))
        register(_AtExit(function), *args, **kwargs)
        return function

    atexit.register = noting  # type: ignore[assignment]
    try:
        yield
    finally:
        if atexit.register is noting:
            atexit.register = register
        started = [one.name for one in threading.enumerate() if one not in threads and one.is_alive()]
        if started:
            found.append(f"started a thread when loaded, which goes on ({', '.join(sorted(started))})")
        if functions:
            found.append(f"runs a function when every command ends ({', '.join(functions)})")
