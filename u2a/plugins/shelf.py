"""What plugins register, by name with who brought it: one shelf for each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic

from u2a.common.distributions import one_spelling
from u2a.errors import PluginError
from u2a.plugins.checks import S

if TYPE_CHECKING:
    from u2a.contract.blame import Owner


@dataclass(eq=False)
class Shelf(Generic[S]):
    """Registrations of one kind by name, in the order they came, and who brought them.

    A name that several distributions bring belongs to none of them: `specs` has each as ``DISTRIBUTION:NAME``.

    Args:
        own_stay: what u2a itself brings cannot be brought by others as well.
    """

    what: str
    check: Callable[[object], None]
    own_stay: bool = False
    brought: dict[str, list[tuple[Owner, S]]] = field(default_factory=dict)

    def add(self, owner: Owner, spec: S) -> None:
        """Take one registration.

        Raises:
            PluginError: it breaks the contract, or its name is taken.
        """
        self.check(spec)
        for other, _ in self.brought.get(spec.name, []):
            if other.distribution == owner.distribution or (self.own_stay and other.distribution == "u2a"):
                raise PluginError(f"{self.what} {spec.name!r} is already registered by {other}")
        self.brought.setdefault(spec.name, []).append((owner, spec))

    def _each(self) -> Iterator[tuple[str, Owner, S]]:
        for name, several in self.brought.items():
            for owner, spec in several:
                yield (name if len(several) == 1 else f"{owner.distribution}:{name}"), owner, spec

    @property
    def specs(self) -> dict[str, S]:
        """The registrations by name."""
        return {name: spec for name, _, spec in self._each()}

    @property
    def owners(self) -> dict[str, Owner]:
        """Who brought each."""
        return {name: owner for name, owner, _ in self._each()}

    def find(self, name: str, distribution: str | None = None) -> str | None:
        """The name in `specs` of what is called ``NAME`` or ``DISTRIBUTION:NAME``; None if nobody brings it.

        Args:
            distribution: whose, if several bring it and the name does not say.

        Raises:
            PluginError: several bring it, and it is not said whose is meant.
        """
        said, _, plain = name.rpartition(":")
        several = [owner for owner, _ in self.brought.get(plain, [])]
        if not said and len(several) == 1:
            return plain
        for owner in several:
            if owner.distribution == one_spelling(said or distribution or ""):
                return plain if len(several) == 1 else f"{owner.distribution}:{plain}"
        if said or not several:
            return None
        whose = " and ".join(map(str, several))
        raise PluginError(
            f"{self.what} {plain!r} is brought by {whose}; say whose is meant, for example "
            f'"{several[0].distribution}:{plain}", or leave one out with --no-plugin {several[-1].plugin}'
        )

    def describe(self, name: str) -> str:
        """``logger 'x' (plugin 'y' of z 1.0)``."""
        return f"{self.what} {name!r} ({self.owners[name]})"

    def unknown(self, name: str, known: Iterable[str] | None = None) -> str:
        """Say that no plugin brings `name`, with the nearest name and all of `known` (default: everything)."""
        from u2a.common.hints import alike, meant

        names = sorted(self.specs if known is None else known)
        guess = meant(name, alike(name, names, cutoff=0.5))
        installed = ", ".join(names) or "none"
        return f"no installed plugin brings the {self.what} {name!r}{guess} (installed: {installed})"
