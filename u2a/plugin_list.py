"""``u2a plugins list``: what is installed, from which distribution, and what failed."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from u2a.cli_base import print_json
from u2a.plugins import Registry, registry


def plugin_rows(plugins: Registry) -> list[dict[str, Any]]:
    """One row a modality, then one a failure: modality, extensions, distribution, version, status."""
    good = [
        {
            "modality": name,
            "extensions": list(spec.extensions),
            "plugin": plugins.owners[name].plugin,
            "distribution": plugins.owners[name].distribution,
            "version": plugins.owners[name].version,
            "status": "ok",
        }
        for name, spec in plugins.specs.items()
    ]
    bad: list[dict[str, Any]] = [
        {
            "modality": None,
            "extensions": [],
            "plugin": failure.owner.plugin,
            "distribution": failure.owner.distribution,
            "version": failure.owner.version,
            "status": f"failed: {failure.reason}",
        }
        for failure in plugins.failures
    ]
    return good + bad


def print_plugins(as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    rows = plugin_rows(registry())
    if as_json:
        print_json(rows)
        return
    table = Table("modality", "extensions", "distribution", "version", "status", box=None)
    for row in rows:
        name = row["modality"] or f"({row['plugin']})"
        table.add_row(name, " ".join(row["extensions"]), row["distribution"], row["version"], row["status"])
    Console(soft_wrap=True).print(table)
