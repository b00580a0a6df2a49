"""Which plugins a run was trained with, and whether those that are installed are the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from u2a.common.distributions import installed_version, one_spelling
from u2a.contract.blame import Owner
from u2a.errors import CheckpointError
from u2a.recipe.sections import Recipe


@dataclass(frozen=True)
class Used:
    """A part of a run and the distribution that it came from, by what versions.json calls it."""

    name: str
    owner: Owner

    @property
    def what(self) -> str:
        """As people call it."""
        kind, colon, name = self.name.partition(":")
        return f"{kind} {name!r}" if colon else f"modality {kind!r}"


def owners_of(recipe: Recipe) -> dict[str, Owner]:
    """Every modality, metric and logger of a training with its owner, by what versions.json calls it."""
    registry = recipe.plugins
    owners = {name: registry.owners[options.kind] for name, options in recipe.modalities.items()}
    for name, metric in registry.metrics.specs.items():
        if recipe.task.kind in metric.task_kinds:
            owners[f"metric:{name.rpartition(':')[2]}"] = registry.metrics.owners[name]
    if recipe.task.metric:  # of several with its name, the recipe's
        owners[f"metric:{recipe.task.metric.rpartition(':')[2]}"] = registry.metrics.owners[recipe.task.metric]
    for name in recipe.training.loggers:
        if found := registry.loggers.find(name):
            owners[f"logger:{found.rpartition(':')[2]}"] = registry.loggers.owners[found]
    return owners


def recorded(folder: Path) -> dict[str, Owner]:
    """What a run folder's versions.json says of its plugins; nothing where there is none."""
    try:
        used: dict[str, Any] = json.loads((folder / "versions.json").read_text(encoding="utf-8"))["plugins"]
        return {
            name: Owner(
                str(one.get("plugin", name)), one_spelling(str(one["distribution"])), str(one["version"])
            )
            for name, one in used.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def check_owners(folder: Path, recipe: Recipe) -> list[str]:
    """Hold the installed plugins against those that a run was trained with.

    Returns:
        A line for each distribution whose version is another one now.

    Raises:
        CheckpointError: a modality or the headline metric comes from another distribution.
    """
    before, now = recorded(folder), owners_of(recipe)
    needed = {*recipe.modalities, f"metric:{recipe.task.headline.rpartition(':')[2]}"}
    changed: dict[tuple[str, str, str], list[str]] = {}
    for name in before.keys() & now.keys():
        old, new, what = before[name], now[name], Used(name, before[name]).what
        if old.distribution != new.distribution and name in needed:
            raise CheckpointError(
                f"{folder}: {what} was trained with {old}, and {new} brings it now; "
                f"{_how_to_get(old)}, or leave the other one out with --no-plugin {new.plugin}"
            )
        same = (old.distribution, old.version) == (new.distribution, new.version)
        if not same and not name.startswith("logger:"):
            key = str(old), new.distribution, new.version
            changed.setdefault(key, []).append(what)
    return [
        f"{folder}: {', '.join(sorted(whats))}: trained with {old}; this is {distribution} {version}, "
        "whose numbers may differ"
        for (old, distribution, version), whats in sorted(changed.items())
    ]


def lost_owners(folder: Path) -> Iterator[str]:
    """What to do about distributions that a run was trained with and that are gone, or another version now."""
    told: set[str] = set()
    for name, owner in recorded(folder).items():
        if name.startswith("logger:") or owner.distribution in told | {"u2a"}:
            continue
        told.add(owner.distribution)
        has = installed_version(owner.distribution)
        if has != owner.version:
            now = f", this is {has}" if has else ""
            yield f"{folder}: was trained with {owner.distribution} {owner.version}{now}: {_how_to_get(owner)}"


def _how_to_get(owner: Owner) -> str:
    if owner.distribution.endswith(".py"):
        return f"give the file with --plugin {owner.distribution}"
    return f"pip install {owner.distribution}=={owner.version}"
