"""From entry points to a `Registry`: every modality with its owner, every failure with its reason.

Plugins are loaded one by one, the shipped ones first and then by name, so that every process sees the
same order and one plugin's failure never stops another (pluggy's own loader goes in file-system order
and lets the first exception out).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

from u2a import plugin_hooks
from u2a.errors import PluginError, U2AError
from u2a.extensions import EXTENSION, LoggerSpec, MetricSpec, Shelf, check_logger, check_metric, checked_spec
from u2a.modality import ModalityOptions, ModalitySpec
from u2a.plugin_discovery import find_plugins, installed_version
from u2a.plugin_guard import put_back

GROUP = "u2a"
#: Plugins to leave out, by the name of the entry point or distribution; and files to load as plugins.
LEFT_OUT, FILES = "U2A_NO_PLUGIN", "U2A_PLUGIN"
#: After so long, whoever waits is told for which plugin.
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Owner:
    """The distribution and entry point that a registration came from."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Failure:
    """A plugin (or one of its registrations) that was refused, and why."""

    owner: Owner
    reason: str


@dataclass
class Registry:
    """What the installed plugins bring, by kind and name with their owners, and the failures.

    Attributes:
        left_out: plugins that the user leaves out.
        notes: what else is to be said of a plugin.
    """

    modalities: Shelf[ModalitySpec] = field(default_factory=lambda: Shelf("modality", check_spec))
    loggers: Shelf[LoggerSpec] = field(default_factory=lambda: Shelf("logger", check_logger, own_stay=True))
    metrics: Shelf[MetricSpec] = field(default_factory=lambda: Shelf("metric", check_metric, own_stay=True))
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Owner] = field(default_factory=list)
    notes: dict[Owner, list[str]] = field(default_factory=dict)
    _seen: dict[int, tuple[Owner, object]] = field(default_factory=dict)

    def add(self, owner: Owner, plugin: object) -> None:
        """Register one plugin object; what it did wrong becomes a `Failure`, never an exception."""
        self._try(owner, lambda: plugin)

    def load(self, owner: Owner, load: Callable[[], object], hint: str = "") -> None:
        """`add` what `load` imports, and leave global state as it was.

        Args:
            hint: added to the reason if the import fails.
        """
        changed: list[str] = []
        heavy = "torch" not in sys.modules
        with put_back(changed):
            self._try(owner, load, hint)
        if changed:
            text = f"changed {', '.join(changed)} when loaded; it was put back"
            self.notes.setdefault(owner, []).append(text)
        if heavy and "torch" in sys.modules:
            self.notes.setdefault(owner, []).append("imports torch when loaded, so that every command is slow")

    def _try(self, owner: Owner, load: Callable[[], object], hint: str = "") -> None:
        try:
            plugin = load()
            hint = ""
            first, _ = self._seen.setdefault(id(plugin), (owner, plugin))
            if first is not owner:
                raise PluginError(f"is the same module as {first}; one entry point is enough")
            self._collect(owner, plugin)
        except KeyboardInterrupt:
            text = f"while loading {owner}; --no-plugin {owner.plugin} leaves it out"
            raise KeyboardInterrupt(text) from None
        except BaseException as error:  # a stranger's code: anything can come out of it, SystemExit included
            self.failures.append(Failure(owner, reason_of(error) + hint))

    def _collect(self, owner: Owner, plugin: object) -> None:
        shelves: dict[str, Shelf[Any]] = {
            "u2a_register_modalities": self.modalities,
            "u2a_register_loggers": self.loggers,
            "u2a_register_metrics": self.metrics,
        }
        for hook, function in plugin_hooks.hooks_of(plugin):
            plugin_hooks.call(hook, function, partial(shelves[hook].add, owner))

    @property
    def specs(self) -> dict[str, ModalitySpec]:
        """The modalities by name."""
        return self.modalities.specs

    @property
    def owners(self) -> dict[str, Owner]:
        """Who brought each modality."""
        return self.modalities.owners

    def kind(self, name: str, distribution: str | None = None) -> str:
        """The name under which `specs` has the modality that a recipe calls `name`.

        Args:
            name: ``peaks`` or, where several bring it, ``DISTRIBUTION:peaks``.
            distribution: whose, if several bring it and the name does not say.

        Raises:
            PluginError: nobody brings it (says what is installed or to install), or several do.
        """
        if found := self.modalities.find(name, distribution):
            return found
        kind = name.rpartition(":")[2]
        wanted = "u2a-plugin-" + kind.strip("_").replace("_", "-")
        for failure in self.failures:
            if failure.owner.plugin == kind or failure.owner.distribution == wanted:
                raise PluginError(f"modality {kind!r}: {failure.owner} failed to load: {failure.reason}")
        for owner in self.left_out:
            if owner.plugin == kind or owner.distribution == wanted:
                raise PluginError(f"modality {kind!r}: {owner} is left out ({LEFT_OUT} or --no-plugin)")
        said = self.modalities.unknown(name)
        if has := installed_version(wanted):
            raise PluginError(
                f"{said}; {wanted} {has} is installed and registers none of that name; "
                f"see its entry points of the group {GROUP!r}"
            )
        raise PluginError(f"{said}; if it is published, install it with: pip install {wanted}")

    def spec(self, kind: str) -> ModalitySpec:
        """The spec of a modality; a `PluginError` that says what is installed, or what to install, if none."""
        return self.specs[self.kind(kind)]


def check_spec(spec: object) -> None:
    """Refuse a registration that is incomplete or made for another contract version.

    Raises:
        PluginError: with what the contract wants (`u2a.modality.ModalitySpec`).
    """
    spec = checked_spec("modality", ModalitySpec, spec)
    if not (isinstance(spec.options, type) and issubclass(spec.options, ModalityOptions)):
        raise PluginError(f"modality {spec.name!r}: options must be a subclass of u2a.ModalityOptions")
    if spec.options.model_fields["kind"].annotation is not str:
        raise PluginError(
            f"modality {spec.name!r}: {spec.options.__name__} redefines the option 'kind', which is u2a's own; "
            "give yours another name"
        )
    if isinstance(spec.extensions, str):
        raise PluginError(
            f"modality {spec.name!r}: extensions is the text {spec.extensions!r}; "
            f"write a tuple: ({spec.extensions!r},)"
        )
    sound = [isinstance(e, str) and re.fullmatch(EXTENSION, e) for e in spec.extensions]
    if not sound or not all(sound):
        raise PluginError(
            f"modality {spec.name!r}: extensions must be lower case, without a dot in front, at least one"
        )
    if spec.tune not in ("lora", "full"):
        raise PluginError(f'modality {spec.name!r}: tune must be "lora" or "full", not {spec.tune!r}')
    for part in ("preprocessor", "backbone", "embedding", "encoder", "width", "lora_targets", "share_key"):
        if not callable(getattr(spec, part)):
            raise PluginError(f"modality {spec.name!r}: {part} must be callable")
    _check_signature(spec, "backbone", ("options", "weights"), spec.backbone)


def _check_signature(spec: ModalitySpec, part: str, wanted: tuple[str, ...], call: Callable[..., Any]) -> None:
    try:
        inspect.signature(call).bind("options", weights=True)
    except TypeError as error:
        raise PluginError(
            f"modality {spec.name!r}: {part} must accept ({wanted[0]}, *, {wanted[1]}): {error}"
        ) from None


def reason_of(error: BaseException) -> str:
    """An exception of a stranger's code in one printable line."""
    try:
        text = str(error)
    except Exception:  # its own code runs here too
        text = ""
    text = "".join(c for c in " ".join(text.split()) if c.isprintable()) or "no message"
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}"


@contextmanager
def blame(name: str, owner: Owner, part: str) -> Iterator[None]:
    """Turn what a plugin's own code raises into a `PluginError` that names modality, distribution and part.

    Other `U2AError` pass: they tell of the user's files and options.
    """
    culprit = f"modality {name!r} ({owner})"
    try:
        yield
    except PluginError as error:
        raise PluginError(f"{culprit}: {error}") from error
    except U2AError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise  # the machine's fault, not the plugin's
        raise PluginError(f"{culprit}: {part} failed: {reason_of(error)}") from error


def _version_hint(requires: tuple[str, ...]) -> str:
    """What a failed plugin's distribution requires of u2a, if that is not the u2a that runs."""
    from packaging.requirements import InvalidRequirement, Requirement

    mine = version("u2a")
    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if wanted.name == "u2a" and not wanted.specifier.contains(mine, prereleases=True):
            return f"; it was made for u2a {wanted.specifier}, this is u2a {mine}"
    return ""


def load_registry() -> Registry:
    """Load every plugin behind the entry-point group ``u2a``, and those in files that the user names.

    Raises:
        PluginError: the user names a plugin or file that is not there, or a file that is no plugin; or a plugin
            asks for the registry while it is being loaded. Never for an installed plugin's fault.
    """
    if _loading:
        raise PluginError(
            "registry() cannot be asked while plugins are loaded; look other modalities up when they are used"
        )
    registry, left_out = Registry(), set(_names(LEFT_OUT, ","))
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
                now[:] = [owner]
                registry.load(owner, partial(_load_entry, entry), _version_hint(found.requires))
        for path in _names(FILES, os.pathsep):
            _load_file(registry, Path(path), now)
    if unknown := sorted(left_out - known):
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
    registry.load(owner, partial(importlib.import_module, name))
    if failed := [failure for failure in registry.failures if failure.owner is owner]:
        raise PluginError(f"--plugin {path}: {failed[0].reason}")


@cache
def registry() -> Registry:
    """The process's registry, loaded on first use."""
    with _lock:
        return load_registry()
