"""From entry points to a `Registry`: every modality with its owner, every failure with its reason.

Plugins are loaded one by one, the shipped ones first and then by name, so that every process sees the
same order and one plugin's failure never stops another (pluggy's own loader goes in file-system order
and lets the first exception out).
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points, version
from types import FrameType
from typing import Any

import pluggy

from u2a import hookspecs
from u2a.errors import PluginError, U2AError
from u2a.extensions import LoggerSpec, MetricSpec, Shelf, check_logger, check_metric, checked_spec
from u2a.modality import ModalityOptions, ModalitySpec

GROUP = "u2a"
IMPORT_SECONDS = float(os.environ.get("U2A_PLUGIN_TIMEOUT", "30"))


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
    """What the installed plugins bring, by kind and name with their owners, and the failures."""

    modalities: Shelf[ModalitySpec] = field(default_factory=lambda: Shelf("modality", check_spec))
    loggers: Shelf[LoggerSpec] = field(default_factory=lambda: Shelf("logger", check_logger))
    metrics: Shelf[MetricSpec] = field(default_factory=lambda: Shelf("metric", check_metric))
    failures: list[Failure] = field(default_factory=list)
    manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager(GROUP))

    def __post_init__(self) -> None:
        self.manager.add_hookspecs(hookspecs)

    def add(self, owner: Owner, plugin: object) -> None:
        """Register one plugin object; what it did wrong becomes a `Failure`, never an exception."""
        try:
            _check_hook_names(self.manager, plugin)
            self.manager.register(plugin, name=f"{owner.distribution}:{owner.plugin}")
            self._collect(owner, plugin)
        except Exception as error:  # a stranger's code: anything can come out of it
            self.failures.append(Failure(owner, _reason(error)))

    def _collect(self, owner: Owner, plugin: object) -> None:
        hooks: dict[str, Callable[..., None]] = {
            "u2a_register_modalities": self.modalities.add,
            "u2a_register_loggers": self.loggers.add,
            "u2a_register_metrics": self.metrics.add,
        }
        for hook, add in hooks.items():
            for impl in getattr(self.manager.hook, hook).get_hookimpls():
                if impl.plugin is plugin:
                    impl.function(register=partial(add, owner))

    @property
    def specs(self) -> dict[str, ModalitySpec]:
        """The modalities by name."""
        return self.modalities.specs

    @property
    def owners(self) -> dict[str, Owner]:
        """Who brought each modality."""
        return self.modalities.owners

    def spec(self, kind: str) -> ModalitySpec:
        """The spec of a modality; a `PluginError` that says what is installed, or what to install, if none."""
        if kind in self.specs:
            return self.specs[kind]
        broken = [f for f in self.failures if f.owner.plugin == kind]
        if broken:
            raise PluginError(f"modality {kind!r}: {broken[0].owner} failed to load: {broken[0].reason}")
        known = ", ".join(sorted(self.specs)) or "none"
        raise PluginError(
            f"no installed plugin brings the modality {kind!r} (installed: {known}); "
            f"if it is published, install it with: pip install u2a-plugin-{kind.replace('_', '-')}"
        )


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
    if not spec.extensions or any(e.startswith(".") or e != e.lower() for e in spec.extensions):
        raise PluginError(f"modality {spec.name!r}: extensions must be lower case, without dots, at least one")
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


def _check_hook_names(manager: pluggy.PluginManager, plugin: object) -> None:
    known = {name for name in dir(hookspecs) if name.startswith("u2a_")}
    found = {name for name in dir(plugin) if name.startswith("u2a_") and callable(getattr(plugin, name))}
    hooks = {name for name in found if manager.parse_hookimpl_opts(plugin, name) is not None}
    if unknown := sorted(hooks - known):
        raise PluginError(f"unknown hook {unknown[0]!r}; known hooks: {', '.join(sorted(known))}")
    if not hooks:
        hint = f" ({sorted(found)[0]} lacks @u2a.hookimpl)" if found else ""
        raise PluginError(f"implements no u2a hook{hint}; known hooks: {', '.join(sorted(known))}")


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
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
        raise PluginError(f"{culprit}: {part} failed: {_reason(error)}") from error


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
