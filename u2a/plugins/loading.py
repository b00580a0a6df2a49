"""From entry points to a `Registry`: one plugin after another, each failure kept with its reason."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from types import FrameType

from u2a.contract.blame import Owner, _reason
from u2a.contract.hookspecs import GROUP
from u2a.plugins.registry import Failure, Registry

IMPORT_SECONDS = float(os.environ.get("U2A_PLUGIN_TIMEOUT", "30"))


class _TooLongError(BaseException):
    """Raised inside an import that hangs; no ``except Exception`` of a plugin swallows it."""


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    """Turn an import that hangs into an error that names the plugin (main thread of a Unix process only)."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def on_alarm(signum: int, frame: FrameType | None) -> None:
        if not _importing_torch():  # it takes its time, and to break it off crashes the process
            raise _TooLongError(
                f"import took longer than {seconds:g} s and was stopped (U2A_PLUGIN_TIMEOUT sets the limit)"
            )

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again and again, should it be swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _importing_torch() -> bool:
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _version_hint(entry: EntryPoint) -> str:
    """What a failed plugin's distribution requires of u2a, if that is not the u2a that runs."""
    from packaging.requirements import InvalidRequirement, Requirement

    mine = version("u2a")
    for text in (entry.dist.requires if entry.dist else None) or ():
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if wanted.name == "u2a" and not wanted.specifier.contains(mine, prereleases=True):
            return f"; it was made for u2a {wanted.specifier}, this is u2a {mine}"
    return ""


def _owner(entry: EntryPoint) -> Owner:
    dist = entry.dist
    return Owner(entry.name, dist.name if dist else "unknown", dist.version if dist else "?")


def _order(entry: EntryPoint) -> tuple[bool, str, str]:
    owner = _owner(entry)
    return owner.distribution != "u2a", owner.distribution, entry.name


def load_registry() -> Registry:
    """Load every plugin behind the entry-point group ``u2a``; never raises for a plugin's fault."""
    registry = Registry()
    for entry in sorted(set(entry_points(group=GROUP)), key=_order):
        owner = _owner(entry)
        try:
            with _watchdog(IMPORT_SECONDS):
                registry.add(owner, entry.load())
        except _TooLongError as error:
            registry.failures.append(Failure(owner, str(error)))
        except (Exception, SystemExit) as error:  # an import may even call sys.exit()
            registry.failures.append(Failure(owner, _reason(error) + _version_hint(entry)))
    return registry


@cache
def registry() -> Registry:
    """The process's registry, loaded on first use."""
    return load_registry()
