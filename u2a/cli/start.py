"""``u2a init`` and ``u2a run``: from a person's own files to a recipe, and to a report."""

from __future__ import annotations

import glob
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from u2a.cli.base import Command, comma_list, set_option
from u2a.errors import U2AError

_path = click.Path(path_type=Path)


def init_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What decides the recipe and the split."""
    options = [
        click.option("--out", type=_path, default=Path(), help="Folder to write into; here if left out."),
        click.option("--name", help="Of the recipe and its runs; the source's name if left out."),
        click.option(
            "--size", type=click.Choice(["tiny", "small", "base"]), default="small", show_default=True
        ),
        click.option(
            "--encoder", "encoders", multiple=True, metavar="MODALITY=PATH", help="An encoder of yours."
        ),
        click.option("--label", metavar="COLUMN", help="What is to be predicted."),
        click.option("--group", metavar="COLUMN", help="Samples of one value stay in one split."),
        click.option("--split-column", metavar="COLUMN", help="Names each sample's split."),
        click.option("--divide", "divide_anew", is_flag=True, help="Draw a split even if there is one."),
        click.option(
            "--class", "named", multiple=True, metavar="WORD", help="A class, though it says none, NA or -."
        ),
        click.option("--kind", "kinds", multiple=True, metavar="COLUMN=KIND", help="What reads a column."),
        click.option(
            "--ignore", multiple=True, callback=comma_list, metavar="NAME[,NAME]", help="Columns to leave out."
        ),
        click.option(
            "--root", type=_path, metavar="DIR", help="Where the files are; beside the table if left out."
        ),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the split."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("source", type=_path)
@init_options
@click.option("--overwrite", is_flag=True, help="Replace the recipe and manifest that are there.")
def init(source: Path, **options: Any) -> None:
    """Write a recipe for SOURCE: a table, a folder of class folders, or a Hugging Face datasets folder.

    A table is JSONL, JSON, CSV, TSV or Parquet. Where there is no split, one is drawn by class.
    """
    from u2a.plugins.loading import registry
    from u2a.starting.begin import begin

    started = begin(source, _choices(**options), registry())
    for line in started.lines:
        click.echo(line)
    click.echo(f"wrote {started.recipe} and {started.manifest}; next:")
    for command in started.commands:
        click.echo(f"  {command}")


@click.command(cls=Command)
@click.argument("source", type=_path)
@init_options
@set_option
@click.pass_context
def run(ctx: click.Context, source: Path, sets: tuple[str, ...], **options: Any) -> None:
    """From SOURCE to a report in one go: init, pack, train, eval and report, each said as its own command.

    What is done already is kept: the same command goes on where it was interrupted.
    """
    from u2a.plugins.loading import registry
    from u2a.starting import begin as start

    choices = _choices(**options)
    recipe = choices.out / f"{start.recipe_name(source, choices.name)}.toml"
    manifests = sorted(choices.out.glob(f"{glob.escape(recipe.stem)}.manifest.*"))
    if recipe.exists() and manifests:
        click.echo(f"1/5  {recipe} is there and is used as it is{_of_no_effect(ctx)}; delete it to begin anew")
        manifest = manifests[0]
    else:
        click.echo(f"1/5  u2a init {shlex.quote(str(source))}")
        started = start.begin(source, choices, registry())
        for line in (*started.lines, f"wrote {started.recipe} and {started.manifest}"):
            click.echo(f"     {line}")
        manifest = started.manifest
    pack = start.pack_command(recipe, manifest, start.source_root(source, choices.root))
    if (_shards(recipe) / "dataset.json").exists():
        click.echo(f"2/5  {pack}: done already")
    else:
        _step(ctx, 2, pack, sets)
    _step(ctx, 3, start.train_command(recipe) + " --resume", sets)
    splits = json.loads((_shards(recipe) / "dataset.json").read_text(encoding="utf-8"))["splits"]
    if not {"test", "val"} & set(splits):
        click.echo("there is no split test or val: what follows are scores of the training samples themselves")
    for number, command in enumerate(start.score_commands(recipe, splits), 4):
        _step(ctx, number, command, ())


def _of_no_effect(ctx: click.Context) -> str:
    """The options of init that were given, which a recipe that is there does not follow any more."""
    given = [
        max(option.opts, key=len)
        for option in ctx.command.params
        if isinstance(option, click.Option)
        and option.name not in ("out", "name", "root", "sets")
        and ctx.get_parameter_source(str(option.name)) is click.core.ParameterSource.COMMANDLINE
    ]
    return f", whatever {' and '.join(given)} may say" if given else ""


def _step(ctx: click.Context, number: int, command: str, sets: tuple[str, ...]) -> None:
    """Run a command of u2a as a person would."""
    from u2a.cli.main import main

    words = shlex.split(command)[1:] + [part for value in sets for part in ("--set", value)]
    click.echo(f"{number}/5  {shlex.join(['u2a', *words])}")
    with main.make_context("u2a", words, parent=ctx) as inner:
        main.invoke(inner)


def _shards(recipe: Path) -> Path:
    from u2a.recipe.file import load_recipe

    return Path(str(load_recipe(recipe).data.shards))


def _choices(encoders: tuple[str, ...], kinds: tuple[str, ...], **options: Any) -> Any:
    from u2a.starting.begin import Choices

    given = {name: {"encoder": _place(value)} for name, value in _pairs("--encoder", encoders)}
    return Choices(given=given, kinds=dict(_pairs("--kind", kinds)), **options)


def _place(value: str) -> str:
    folder = Path(value).expanduser()
    return str(folder.resolve()) if folder.is_dir() else value


def _pairs(option: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise U2AError(
                f"{option} {name}: expected {'MODALITY=PATH' if option == '--encoder' else 'COLUMN=KIND'}"
            )
    return [(name.strip(), value.strip()) for name, _, value in pairs]
