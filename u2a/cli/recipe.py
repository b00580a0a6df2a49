"""``u2a recipe``: check, show and copy recipes."""

from __future__ import annotations

import click

from u2a.cli.base import Group, json_option, print_json, set_option


@click.group(cls=Group)
def recipe() -> None:
    """Check, show and copy recipes."""


@recipe.command()
@click.argument("path", metavar="RECIPE")
@set_option
def check(path: str, sets: tuple[str, ...]) -> None:
    """Validate RECIPE and its encoders (without reading weights), and say what it trains."""
    from u2a.recipe.file import load_recipe
    from u2a.training.encoder_check import check_encoders
    from u2a.training.loggers import check_loggers

    loaded = load_recipe(path, sets)
    check_loggers(loaded)
    for note in check_encoders(loaded):
        click.echo(note, err=True)
    names = ", ".join(loaded.modalities)
    click.echo(f"{path}: ok: {loaded.name}, {len(loaded.task.classes)} classes, modalities {names}")


@recipe.command()
@click.argument("path", metavar="RECIPE")
@set_option
@json_option
def show(path: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Print RECIPE with every value in effect."""
    from u2a.recipe.file import dump_recipe, load_recipe

    loaded = load_recipe(path, sets)
    if as_json:
        print_json(loaded.resolved())
    else:
        click.echo(dump_recipe(loaded), nl=False)
    if loaded.leaves_epochs_out:
        click.echo("training.epochs is left out: it will follow the number of training samples", err=True)


@recipe.command()
def schema() -> None:
    """Print a JSON Schema of recipes with the installed modalities, for editors."""
    from u2a.plugins.loading import registry
    from u2a.recipe.json_schema import recipe_schema

    print_json(recipe_schema(registry()))


@recipe.command()
@click.argument("name", required=False)
@click.option("--out", default="recipes", show_default=True, help="The folder to copy into.")
def copy(name: str | None, out: str) -> None:
    """Copy the shipped recipe NAME into a folder; without NAME, list them."""
    from u2a.recipe.shipped import copy_recipe, shipped_recipes

    if name is None:
        click.echo("\n".join(sorted(shipped_recipes())))
    else:
        click.echo(f"wrote {copy_recipe(name, out)}")
