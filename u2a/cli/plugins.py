"""``u2a plugins``: what is installed, what it wants, and a start for one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from u2a.cli.base import Group, json_option, print_json
from u2a.common.streams import print_table
from u2a.contract.blame import Owner
from u2a.errors import U2AError

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


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
@click.argument("files", nargs=-1, required=True, metavar="FILE FILE ...", type=_file)
@click.option("--bad", multiple=True, metavar="FILE", type=_file, help="A file that must be refused.")
@click.option("--set", "sets", multiple=True, metavar="OPTION=VALUE", help="An option of the modality.")
def check(name: str, files: tuple[Path, ...], bad: tuple[Path, ...], sets: tuple[str, ...]) -> None:
    """Hold the modality NAME against the whole contract, on files that it reads, without pytest.

    At least two files of different content and, where the modality pads, of different lengths.

    u2a plugins check depth a.png b.png --set encoder=./tiny
    """
    from u2a.plugins.loading import registry
    from u2a.recipe.file import parse_options
    from u2a.recipe.kept import plain
    from u2a.testing.case import Case
    from u2a.testing.checks import run_checks

    if len(files) < 2:
        raise click.UsageError("give at least two files")
    options = parse_options(name, sets, registry())
    spec = registry().spec(options.kind)
    values = {key: value for key, value in plain(options).items() if key != "kind"}
    case = Case(spec, values, [file.read_bytes() for file in files], [file.read_bytes() for file in bad])
    failed = 0
    for one, failures in run_checks(case):
        failed += bool(failures)
        cause = one.explained_by(case)
        fine = f"ok: {one.name}" if cause is None else f"not tried, because of {cause}: {one.name}"
        click.echo("\n".join(failures) or fine)
    if failed:
        count = f"{failed} check{'s' if failed > 1 else ''} failed"
        raise U2AError(f"modality {name!r} ({registry().owners[options.kind]}): {count}")


@plugins.command()
@click.argument("name")
@click.option("--out", metavar="DIR", help="The folder to make; u2a-plugin-NAME if left out.")
@click.option("--pretrained", is_flag=True, help="Adapt a transformers checkpoint.")
def new(name: str, out: str | None, pretrained: bool) -> None:
    """Make a complete, tested distribution for a new modality NAME."""
    from u2a.plugins.loading import registry
    from u2a.plugins.new import new_plugin

    folder = new_plugin(name, registry(), out, pretrained=pretrained)
    click.echo(f"wrote {folder}; next: pip install -e {folder} && pytest {folder}")


_TRAINS = {
    "lora": "LoRA on a frozen encoder",
    "frozen": "nothing of a frozen encoder",
    "full": "the whole encoder",
}


def print_modality(name: str, as_json: bool) -> None:
    """Print the description for people, or as JSON."""
    from u2a.plugins.describe import describe_modality
    from u2a.plugins.loading import registry

    found = describe_modality(name, registry())
    if as_json:
        print_json(found)
        return
    click.echo(f"{name}: {registry().owners[name]}, contract version {found['api']}")
    click.echo(f"reads: {' '.join('.' + extension for extension in found['extensions'])}")
    click.echo(f"trains: {', or '.join(_TRAINS[tune] for tune in found['tune'])}\n")
    rows = []
    for row in found["options"]:
        default = "required" if row["required"] else "" if row["default"] is None else repr(row["default"])
        rows.append((row["name"], row["type"], default, row["help"]))
    print_table(("option", "type", "default", "help"), rows)
    click.echo(f"\n{found['example']}", nl=False)


def print_plugins(as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    from u2a.plugins.listing import plugin_rows
    from u2a.plugins.loading import registry

    rows = plugin_rows(registry())
    if as_json:
        print_json(rows)
        return
    names = ("provides", "name", "about", "distribution", "version", "status")
    for row in rows:
        row["about"] = " ".join(row["extensions"]) or row["help"]
    header = (*names[:2], "reads or does", *names[3:])
    print_table(header, [[row[name] for name in names] for row in rows if row["name"]])
    for row in rows:  # as lines of their own: reasons are long
        if not row["name"]:
            click.echo(f"{_owner(row)}: {row['status']}")
    for who, notes in {_owner(row): row["notes"] for row in rows}.items():
        for note in notes:
            click.echo(f"{who}: {note}")


def _owner(row: dict[str, Any]) -> Owner:
    return Owner(row["plugin"], row["distribution"], row["version"])
