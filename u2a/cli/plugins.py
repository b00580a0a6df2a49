"""``u2a plugins``: what is installed, what it wants, and a start for one's own."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from u2a.cli.base import Group, json_option, print_json
from u2a.common.terminal import print_table
from u2a.contract.blame import Owner


@click.group(cls=Group)
def plugins() -> None:
    """The installed modalities, and a start for your own."""


@plugins.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List modalities, loggers and metrics with their distributions; name plugins that failed, and why."""
    print_plugins(as_json)


@plugins.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the modality NAME: its options, file extensions and an example for a recipe."""
    print_modality(name, as_json)


@plugins.command()
@click.argument("name")
@click.option("--out", metavar="DIR", help="The folder to make; u2a-plugin-NAME if left out.")
def new(name: str, out: str | None) -> None:
    """Make a complete, tested distribution for a new modality NAME."""
    from u2a.plugins.new import new_plugin

    folder = new_plugin(name, out)
    click.echo(f"wrote {folder}; next: pip install -e {folder} && pytest {folder}")


def print_modality(name: str, as_json: bool) -> None:
    """Print the description for people, or as JSON."""
    from u2a.plugins.describe import describe_modality
    from u2a.plugins.loading import registry

    found = describe_modality(name, registry())
    if as_json:
        print_json(found)
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"{name}: {registry().owners[name]}, contract version {found['api']}")
    console.print(f"reads: {' '.join('.' + extension for extension in found['extensions'])}")
    console.print(f"trains: {'LoRA on a frozen encoder' if found['tune'] == 'lora' else 'the whole encoder'}\n")
    table = Table("option", "type", "default", "help", box=None, pad_edge=False)
    for row in found["options"]:
        default = "required" if row["required"] else "" if row["default"] is None else repr(row["default"])
        table.add_row(*map(escape, (row["name"], row["type"], default, row["help"])))
    print_table(table)
    console.print(f"\n{found['example']}", end="")


def print_plugins(as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    from u2a.plugins.describe import plugin_rows
    from u2a.plugins.loading import registry

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
        if not row["name"]:
            click.echo(f"{_owner(row)}: {row['status']}")
    for who, notes in {_owner(row): row["notes"] for row in rows}.items():
        for note in notes:
            click.echo(f"{who}: {note}")


def _owner(row: dict[str, Any]) -> Owner:
    return Owner(row["plugin"], row["distribution"], row["version"])
