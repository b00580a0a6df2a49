"""From entry points to a `Registry`: every modality with its owner, every failure with its reason.

Plugins are loaded one by one, the shipped ones first and then by name, so that every process sees the
same order and one plugin's failure never stops another (pluggy's own loader goes in file-system order
and lets the first exception out).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Generic

import pluggy

from u2a.contract import hookspecs
from u2a.contract.blame import _reason
from u2a.contract.extensions import LoggerSpec, MetricSpec
from u2a.contract.hookspecs import GROUP
from u2a.contract.modality import ModalitySpec
from u2a.errors import PluginError
from u2a.plugins.checks import S, _check_hook_names, check_logger, check_metric, check_spec

if TYPE_CHECKING:
    from u2a.contract.blame import Owner


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


@dataclass
class Shelf(Generic[S]):
    """Registrations of one kind by name, in the order they came, and who brought them."""

    what: str
    check: Callable[[object], None]
    specs: dict[str, S] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)

    def add(self, owner: Owner, spec: S) -> None:
        """Take one registration.

        Raises:
            PluginError: it breaks the contract, or its name is taken.
        """
        self.check(spec)
        if spec.name in self.specs:
            raise PluginError(f"{self.what} {spec.name!r} is already registered by {self.owners[spec.name]}")
        self.specs[spec.name], self.owners[spec.name] = spec, owner

    def describe(self, name: str) -> str:
        """``logger 'x' (plugin 'y' of z 1.0)``."""
        return f"{self.what} {name!r} ({self.owners[name]})"

    def unknown(self, name: str, known: Iterable[str] | None = None) -> str:
        """Say that no plugin brings `name`, with the nearest name and all of `known` (default: everything)."""
        names = sorted(self.specs if known is None else known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f'; did you mean "{near[0]}"?' if near else ""
        installed = ", ".join(names) or "none"
        return f"no installed plugin brings the {self.what} {name!r}{guess} (installed: {installed})"
