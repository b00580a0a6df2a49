"""Conformance check of the way to u2a: an entry point of the right group whose hook registers the record."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint, distributions

from u2a.common.distributions import find_plugins
from u2a.contract.hookspecs import GROUP
from u2a.plugins.loading import registry
from u2a.testing.case import Case, Findings, check


@check(
    "an installed distribution to register what it brings, by an entry point of the group u2a",
    "u2a/hookspecs.py",
)
def registered(case: Case) -> Findings:
    name, packages = case.spec.name, case.packages
    mine = [found for found in find_plugins() if any(_package(one) in packages for one in found.entries)]
    if not mine:
        yield from _elsewhere(packages, name)
        return
    brought = {owner.distribution for owner, _ in registry().modalities.brought.get(name, [])}
    if brought.isdisjoint(found.name for found in mine):
        owner = f"{mine[0].name} {mine[0].version}"
        said = [failure.reason for failure in registry().failures if failure.owner.distribution == mine[0].name]
        why = f": {said[0]}" if said else "; its hook has to call register() with it"
        yield f"{owner} is installed and registers no modality {name!r}{why}"


def _elsewhere(packages: Sequence[str], name: str) -> Findings:
    """A distribution that is installed and brings the package, yet nothing to u2a."""
    for found in distributions():
        try:
            entries = list(found.entry_points)
            title = found.metadata["Name"]
        except Exception:  # a damaged one of somebody else's
            continue
        groups = sorted({one.group for one in entries if _package(one) in packages})
        if groups or _is_called(title, packages):
            has = f"its entry points are in the group {groups[0]!r}" if groups else "it has no entry point"
            yield (
                f"{title} {_version(found)} is installed and {has}, so u2a does not see it; write "
                f'[project.entry-points.{GROUP}] {name} = "{packages[0]}"'
            )
            return


def _is_called(title: object, packages: Sequence[str]) -> bool:
    return isinstance(title, str) and title.lower().replace("-", "_") in packages


def _package(entry: EntryPoint) -> str:
    return entry.value.partition(":")[0].strip().partition(".")[0]


def _version(found: Distribution) -> str:
    return found.metadata["Version"] or "?"
