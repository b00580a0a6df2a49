"""From entry points to a `Registry`: every modality with its owner, every failure with its reason.

Plugins are loaded one by one, the shipped ones first and then by name, so that every process sees the
same order and one plugin's failure never stops another (pluggy's own loader goes in file-system order
and lets the first exception out).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from u2a.common.distributions import installed_version
from u2a.contract.blame import reason_of
from u2a.contract.hookspecs import GROUP
from u2a.errors import PluginError
from u2a.plugins.checks import check_command, check_engine, check_logger, check_metric
from u2a.plugins.hooks import PREFIX, call, hooks_of
from u2a.plugins.shelf import Shelf

if TYPE_CHECKING:
    from u2a.contract.blame import Owner
    from u2a.contract.engines import EngineSpec
    from u2a.contract.extensions import CommandSpec, LoggerSpec, MetricSpec
    from u2a.contract.modality import ModalitySpec


@dataclass(frozen=True)
class Failure:
    """A plugin (or one of its registrations) that was refused, and why."""

    owner: Owner
    reason: str


def _check_modality(spec: object) -> None:
    from u2a.plugins.modality_checks import check_spec  # and with it pydantic, which commands do without

    check_spec(spec)


@dataclass(eq=False)
class Registry:
    """What the installed plugins bring, by kind and name with their owners, and the failures.

    Attributes:
        only: the one kind that is asked for, e.g. ``"commands"``; "" = all.
        left_out: plugins that the user leaves out.
        notes: what else is to be said of a plugin.
    """

    only: str = ""
    modalities: Shelf[ModalitySpec] = field(default_factory=lambda: Shelf("modality", _check_modality))
    loggers: Shelf[LoggerSpec] = field(default_factory=lambda: Shelf("logger", check_logger, own_stay=True))
    metrics: Shelf[MetricSpec] = field(default_factory=lambda: Shelf("metric", check_metric, own_stay=True))
    commands: Shelf[CommandSpec] = field(default_factory=lambda: Shelf("command", check_command, own_stay=True))
    engines: Shelf[EngineSpec] = field(default_factory=lambda: Shelf("engine", check_engine, own_stay=True))
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Owner] = field(default_factory=list)
    notes: dict[Owner, list[str]] = field(default_factory=dict)
    _seen: dict[int, tuple[Owner, object]] = field(default_factory=dict)

    def __deepcopy__(self, memo: object) -> Registry:
        return self  # of a recipe's copy as well

    def __reduce__(self) -> tuple[Callable[[], Registry], tuple[()]]:
        """Where a recipe is sent to another process, it stands on that one's plugins."""
        from u2a.plugins.loading import registry

        return registry, ()

    def add(self, owner: Owner, plugin: object) -> None:
        """Register one plugin object; what it did wrong becomes a `Failure`, never an exception."""
        self._try(owner, lambda: plugin)

    def load(
        self,
        owner: Owner,
        module: str,
        load: Callable[[], object],
        hint: Callable[[], str] = str,
        said: Collection[str] = (),
    ) -> None:
        """`add` what `load` imports, and leave global state as it was.

        Args:
            module: the name of what is imported.
            hint: makes what is added to the reason if the import fails.
            said: the kinds that its entry points say it brings; none = they do not say.
        """
        changed: list[str] = []
        left: list[str] = []
        heavy = "torch" not in sys.modules
        with ExitStack() as guards:
            if owner.distribution != "u2a":  # ours are known
                from u2a.plugins.guard import put_back
                from u2a.plugins.left_behind import left_behind

                guards.enter_context(put_back(changed))
                guards.enter_context(left_behind(left, module.partition(".")[0]))
            self._try(owner, load, hint, said)
        if left:
            self.notes.setdefault(owner, []).extend(left)
        if changed:
            text = f"changed {', '.join(changed)} when loaded; it was put back"
            self.notes.setdefault(owner, []).append(text)
        if heavy and "torch" in sys.modules:
            self.notes.setdefault(owner, []).append("imports torch when loaded, so that every command is slow")

    def _try(
        self,
        owner: Owner,
        load: Callable[[], object],
        hint: Callable[[], str] = str,
        said: Collection[str] = (),
    ) -> None:
        try:
            plugin = load()
            hint = str
            first, _ = self._seen.setdefault(id(plugin), (owner, plugin))
            if first is not owner:
                raise PluginError(f"is the same module as {first}; one entry point is enough")
            self._collect(owner, plugin, said)
        except KeyboardInterrupt:
            text = f"while loading {owner}; --no-plugin {owner.plugin} leaves it out"
            raise KeyboardInterrupt(text) from None
        except BaseException as error:  # a stranger's code: anything can come out of it, SystemExit included
            self.failures.append(Failure(owner, reason_of(error) + hint()))

    def _collect(self, owner: Owner, plugin: object, said: Collection[str]) -> None:
        """Run a plugin's hooks; one that says what it brings brings that, no more and no less."""
        brought = []
        for hook, function in hooks_of(plugin):
            kind = hook.removeprefix(PREFIX)
            brought.append(kind)
            if said and kind not in said:
                raise PluginError(
                    f"implements {hook}, and its entry points name other kinds alone; put it in the group "
                    f"{GROUP}.{kind} as well"
                )
            if self.only in ("", kind):
                shelf: Shelf[Any] = getattr(self, kind)
                call(hook, function, partial(shelf.add, owner))
        if missing := sorted(set(said) - set(brought)):
            raise PluginError(
                f"stands in the group {GROUP}.{missing[0]} and implements no {PREFIX}{missing[0]}"
            )

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
                raise PluginError(f"modality {kind!r}: {owner} is left out (U2A_NO_PLUGIN or --no-plugin)")
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
