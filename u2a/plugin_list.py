"""``u2a plugins list``: what is installed, from which distribution, and what failed."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from u2a.cli_base import print_json
from u2a.plugins import Owner, Registry, registry
from u2a.terminal import print_table


def plugin_rows(plugins: Registry) -> list[dict[str, Any]]:
    """One row a modality, logger and metric, then one a failure.

    Each has ``provides`` (None for a failure), ``name``, ``modality`` (the name, of modalities only),
    ``extensions``, ``help``, ``plugin``, ``distribution``, ``version`` and ``status``.
    """
    rows = [
        _row("modality", name, plugins.owners[name], modality=name, extensions=list(spec.extensions))
        for name, spec in plugins.specs.items()
    ]
    for name, logger in plugins.loggers.specs.items():
        status = "ok" if logger.ready else f"needs {logger.module}: {logger.install}"
        rows.append(_row("logger", name, plugins.loggers.owners[name], help=logger.help, status=status))
    for name, metric in plugins.metrics.specs.items():
        text = f"{metric.help} ({', '.join(metric.task_kinds)})".strip()
        rows.append(_row("metric", name, plugins.metrics.owners[name], help=text))
    rows += [_row(None, None, f.owner, status=f"failed: {f.reason}") for f in plugins.failures]
    rows += [_row(None, None, owner, status="left out") for owner in plugins.left_out]
    for row in rows:
        owner = Owner(row["plugin"], row["distribution"], row["version"])
        row["notes"] = plugins.notes.get(owner, [])
        if row["name"] and ":" in row["name"]:
            row["notes"] = [*row["notes"], f"several bring {row['name'].rpartition(':')[2]}; recipes say whose"]
    return rows


def _row(provides: str | None, name: str | None, owner: Owner, **more: Any) -> dict[str, Any]:
    about: dict[str, Any] = {"provides": provides, "name": name, "modality": None, "extensions": [], "help": ""}
    owned = {"plugin": owner.plugin, "distribution": owner.distribution, "version": owner.version}
    return {**about, **owned, "status": "ok", **more}


def print_plugins(as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    rows = plugin_rows(registry())
    if as_json:
        print_json(rows)
        return
    table = Table("provides", "name", "reads or does", "distribution", "version", "status", box=None)
    for row in rows:
        if row["name"]:
            about = " ".join(row["extensions"]) or row["help"]
            owner = row["distribution"], row["version"]
            table.add_row(*map(escape, (row["provides"], row["name"], about, *owner, row["status"])))
    print_table(table)
    for row in rows:  # as lines of their own: reasons are long
        owner = str(Owner(row["plugin"], row["distribution"], row["version"]))
        if not row["name"]:
            click.echo(f"{owner}: {row['status']}")
    told = {str(Owner(r["plugin"], r["distribution"], r["version"])): r["notes"] for r in rows if r["notes"]}
    for owner, notes in told.items():
        for note in notes:
            click.echo(f"{owner}: {note}")
