"""From entry points to a `Registry`: one plugin after another, each failure kept with its reason."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import EntryPoint, version
from pathlib import Path

from u2a.common.distributions import Found, find_plugins, one_spelling, requirements
from u2a.contract.blame import Owner
from u2a.errors import PluginError
from u2a.plugins.hooks import KINDS
from u2a.plugins.registry import Failure, Registry

#: Plugins to leave out, by the name of the entry point or distribution; and files to load as plugins.
LEFT_OUT, FILES = "U2A_NO_PLUGIN", "U2A_PLUGIN"
#: After so long, whoever waits is told for which plugin.
PATIENCE_SECONDS = 10.0


def _version_hint(found: Found) -> str:
    """What a failed plugin's distribution requires of u2a, if that is not the u2a that runs."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    mine = version("u2a")
    for text in requirements(found):
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if canonicalize_name(wanted.name) == "u2a" and not wanted.specifier.contains(mine, prereleases=True):
            return f"; it was made for u2a {wanted.specifier}, this is u2a {mine}"
    return ""


def load_registry(only: str = "") -> Registry:
    """Load every plugin behind the entry-point group ``u2a``, and those in files that the user names.

    Args:
        only: the one kind that is asked for, e.g. ``"commands"``: plugins whose entry points say that they
            bring others are not imported. "" = all.

    Raises:
        PluginError: the user names a plugin or file that is not there, or a file that is no plugin; or a plugin
            asks for the registry while it is being loaded. Never for an installed plugin's fault.
    """
    if _loading:
        raise PluginError(
            "registry() cannot be asked while plugins are loaded; look other modalities up when they are used"
        )
    registry, unwanted = Registry(only), _names(LEFT_OUT, ",")
    left_out = {*unwanted, *map(one_spelling, unwanted)}
    known: set[str] = set()
    with _patience() as now:
        for found in find_plugins():
            if found.fault:
                registry.failures.append(Failure(Owner("?", found.name, found.version), found.fault))
            for entry in found.entries:
                owner = Owner(entry.name, found.name, found.version)
                known |= {entry.name, found.name}
                if left_out & {entry.name, found.name}:
                    registry.left_out.append(owner)
                    continue
                said = found.brings.get(entry.name, frozenset()) & KINDS
                if only and said and only not in said:
                    continue
                now[:] = [owner]
                registry.load(
                    owner,
                    entry.value.partition(":")[0],
                    partial(_load_entry, entry),
                    partial(_version_hint, found),
                    said,
                )
        for path in _names(FILES, os.pathsep):
            _load_file(registry, Path(path), now)
    if unknown := sorted(name for name in unwanted if not {name, one_spelling(name)} & known):
        names = ", ".join(sorted(known))
        raise PluginError(f"--no-plugin (or {LEFT_OUT}) names {unknown[0]!r}; installed are: {names}")
    return registry


_loading: list[Owner] = []
_lock = threading.RLock()


@contextmanager
def _patience() -> Iterator[list[Owner]]:
    """Says, once, which plugin is being waited for; yields the list that holds it."""

    def tell() -> None:
        for owner in _loading:
            text = f"still loading {owner}; --no-plugin {owner.plugin} leaves it out"
            print(text, file=sys.stderr, flush=True)

    _loading[:] = [Owner("", "u2a", "")]
    timer = threading.Timer(PATIENCE_SECONDS, tell)
    timer.daemon = True
    timer.start()
    try:
        yield _loading
    finally:
        timer.cancel()
        _loading.clear()


def _names(variable: str, separator: str) -> list[str]:
    names = map(str.strip, os.environ.get(variable, "").split(separator))
    return list(dict.fromkeys(filter(None, names)))


def _load_entry(entry: EntryPoint) -> object:
    if not entry.pattern.fullmatch(entry.value):
        raise PluginError(f"its entry point says {entry.value!r}, which is no MODULE or MODULE:OBJECT")
    return entry.load()


def _load_file(registry: Registry, path: Path, now: list[Owner]) -> None:
    """Load a module that is in no distribution; it must be importable by name, for data workers."""
    from hashlib import sha256

    try:
        digest = sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise PluginError(f"--plugin {path}: cannot be read: {error.strerror}") from None
    name, path = path.stem, path.resolve()
    if path.suffix != ".py" or not name.isidentifier():
        raise PluginError(f"--plugin {path}: must be a Python file with a name such as my_plugin.py")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    found = importlib.util.find_spec(name)
    if found is None or not found.origin or Path(found.origin).resolve() != path:
        raise PluginError(f"--plugin {path}: there is another module {name!r}; give the file another name")
    now[:] = [owner := Owner(name, path.name, digest)]
    registry.load(owner, name, partial(importlib.import_module, name))
    if failed := [failure for failure in registry.failures if failure.owner is owner]:
        raise PluginError(f"--plugin {path}: {failed[0].reason}")


_kept: dict[str, Registry] = {}


def registry(only: str = "") -> Registry:
    """The process's registry, loaded on first use.

    Args:
        only: the one kind that is asked for, e.g. ``"commands"``; whether the others are there is not said.
    """
    with _lock:
        if "" in _kept:
            return _kept[""]
        if only not in _kept:
            _kept[only] = load_registry(only)
            for earlier in _kept.values():  # a plugin is imported once, and what it did then is told once
                _kept[only].notes = {**earlier.notes, **_kept[only].notes}
        return _kept[only]


def forget() -> None:
    """Load anew when next asked: other plugins may be there."""
    _kept.clear()
