"""``u2a plugins``: what is installed, what it wants, and a start for one's own."""

from __future__ import annotations

import click

from u2a.cli_base import Group, json_option


@click.group(cls=Group)
def plugins() -> None:
    """The installed modalities, and a start for your own."""


@plugins.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List modalities, loggers and metrics with their distributions; name plugins that failed, and why."""
    from u2a.plugin_list import print_plugins

    print_plugins(as_json)


@plugins.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the modality NAME: its options, file extensions and an example for a recipe."""
    from u2a.plugin_show import print_modality

    print_modality(name, as_json)


@plugins.command()
@click.argument("name")
@click.option("--out", metavar="DIR", help="The folder to make; u2a-plugin-NAME if left out.")
def new(name: str, out: str | None) -> None:
    """Make a complete, tested distribution for a new modality NAME."""
    from u2a.plugin_new import new_plugin

    folder = new_plugin(name, out)
    click.echo(f"wrote {folder}; next: pip install -e {folder} && pytest {folder}")
