"""The command line: parse and delegate. ``u2a --help`` imports neither torch nor transformers."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import click

from u2a.cli_base import Group, comma_list, json_option, print_json, set_option
from u2a.data.cli import data
from u2a.encoder_cli import encoder
from u2a.plugin_cli import plugins
from u2a.predict_cli import predict
from u2a.quickstart.cli import quickstart
from u2a.report.cli import compare, report, sweep


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("u2a"), prog_name="u2a")
def main() -> None:
    """Adapt pretrained unimodal transformers to multimodal tasks; keep working when modalities are missing."""


main.add_command(data)
main.add_command(encoder)
main.add_command(plugins)
main.add_command(predict)
main.add_command(quickstart)
main.add_command(report)
main.add_command(compare)
main.add_command(sweep)


@main.command()
@click.argument("recipe")
@set_option
@click.option("--run", "folder", metavar="DIR", help="The run folder; runs/<name>-<number> if left out.")
@click.option("--resume", is_flag=True, help="Go on with the run (or the recipe's newest run) if there is one.")
def train(recipe: str, sets: tuple[str, ...], folder: str | None, resume: bool) -> None:
    """Train RECIPE (with --resume, a run folder will do).

    The same command runs on many processes under torchrun (without the two dashes, torchrun would take --run
    for an option of its own):

    torchrun --nproc-per-node 4 -m u2a -- train RECIPE
    """
    from u2a.commands import train_command

    train_command(recipe, sets, folder, resume)


@main.command("eval")
@click.argument("run", required=False)
@click.option("--drop", multiple=True, metavar="M[,M]", callback=comma_list, help="Modalities to take away.")
@click.option("--keep", multiple=True, metavar="M=SHARE", help="Keep a modality in that share of the samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the samples of --keep.")
@click.option("--sweep", is_flag=True, help="Score every availability pattern from one pass.")
@click.option(
    "--without-mask-tokens",
    "mask_tokens",
    flag_value=False,
    default=True,
    help="Fill missing modalities with zeros instead.",
)
@click.option("--split", default="test", show_default=True, help="The split to score.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
@set_option
@json_option
def evaluate(run: str | None, **options: Any) -> None:
    """Score RUN (the newest if none is named), complete and with modalities dropped.

    Samples that dropping would empty are left out (n_empty); the complete score is on the same samples.
    """
    from u2a.commands import eval_command

    eval_command(run, **options)


@main.command()
@click.argument("recipe")
@set_option
@json_option
def params(recipe: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Count RECIPE's parameters, without reading any weights."""
    from u2a.commands import params_command

    params_command(recipe, sets, as_json)


@main.group(cls=Group)
def recipe() -> None:
    """Check, show and copy recipes."""


@recipe.command()
@click.argument("path", metavar="RECIPE")
@set_option
def check(path: str, sets: tuple[str, ...]) -> None:
    """Validate RECIPE and its encoders (without reading weights), and say what it trains."""
    from u2a.encoders.check import check_encoders
    from u2a.loggers import check_loggers
    from u2a.plugins import registry
    from u2a.recipe_file import load_recipe

    loaded = load_recipe(path, sets)
    check_loggers(loaded, registry())
    for note in check_encoders(loaded, registry()):
        click.echo(note, err=True)
    names = ", ".join(loaded.modalities)
    click.echo(f"{path}: ok: {loaded.name}, {len(loaded.task.classes)} classes, modalities {names}")


@recipe.command()
@click.argument("path", metavar="RECIPE")
@set_option
@json_option
def show(path: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Print RECIPE with every value in effect."""
    from u2a.recipe_file import dump_recipe, load_recipe

    loaded = load_recipe(path, sets)
    if as_json:
        print_json(loaded.resolved())
    else:
        click.echo(dump_recipe(loaded), nl=False)


@recipe.command()
def schema() -> None:
    """Print a JSON Schema of recipes with the installed modalities, for editors."""
    from u2a.plugins import registry
    from u2a.recipe_schema import recipe_schema

    print_json(recipe_schema(registry()))


@recipe.command()
@click.argument("name", required=False)
@click.option("--out", default="recipes", show_default=True, help="The folder to copy into.")
def copy(name: str | None, out: str) -> None:
    """Copy the shipped recipe NAME into a folder; without NAME, list them."""
    from u2a.shipped import copy_recipe, shipped_recipes

    if name is None:
        click.echo("\n".join(sorted(shipped_recipes())))
    else:
        click.echo(f"wrote {copy_recipe(name, out)}")
