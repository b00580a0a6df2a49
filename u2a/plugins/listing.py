"""``u2a plugins list``: everything that plugins bring, and what went wrong. No library for schemas or TOML."""

from __future__ import annotations

from typing import Any

from u2a.contract.blame import Owner
from u2a.plugins.registry import Registry


def plugin_rows(plugins: Registry) -> list[dict[str, Any]]:
    """One row a modality, logger, metric, command and engine, then one a failure.

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
    for name, command in plugins.commands.specs.items():
        about = f"u2a {command.group} {name}".replace("  ", " ") + f": {command.help}".removesuffix(": ")
        rows.append(_row("command", name, plugins.commands.owners[name], help=about))
    for name, engine in plugins.engines.specs.items():
        status = "ok" if engine.ready else f"needs {engine.module}: {engine.install}"
        rows.append(_row("engine", name, plugins.engines.owners[name], help=engine.help, status=status))
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
