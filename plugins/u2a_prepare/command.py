"""``u2a data prepare``."""

from __future__ import annotations

from typing import Any

import click

from u2a.cli.base import Command, set_option
from u2a.cli.packing import pack_arguments, packing_options, packing_progress

#: The names of `u2a_prepare.sets.DATA_SETS`, which is imported only when one is wanted.
PUBLIC = ("food101", "mm_imdb", "kinetics_sound", "ave", "crema_d")


@click.command(cls=Command)
@click.argument("name", type=click.Choice(PUBLIC))
@click.option("--source", required=True, help="The folder with the data set as its authors publish it.")
@click.option("--out", required=True, help="Folder to write.")
@click.option(
    "--split-by",
    type=click.Choice(["sample", "speaker"]),
    default="sample",
    show_default=True,
    help="crema_d: speaker keeps all clips of an actor in one split.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="crema_d: draws the split."
)
@set_option
@packing_options
def prepare(
    name: str,
    source: str,
    out: str,
    split_by: str,
    seed: int,
    sets: tuple[str, ...],
    overwrite: bool,
    **how: Any,
) -> None:
    """Make shards of a public data set for its shipped recipe, and compare its counts with the paper's.

    docs/datasets.md says what to download, and what each folder must hold. --set changes the recipe, e.g. its
    encoders. A second run of the same command changes nothing.
    """
    from u2a.recipe.file import load_recipe
    from u2a.recipe.shipped import shipped_recipes
    from u2a_prepare.run import prepare as prepare_set
    from u2a_prepare.run import summary_lines
    from u2a_prepare.sets import Choice

    recipe = load_recipe(shipped_recipes()[name], sets)
    choice, how = Choice(seed, split_by), pack_arguments(how)
    with packing_progress() as progress:
        result = prepare_set(name, recipe, source, out, choice, overwrite=overwrite, progress=progress, **how)
    click.echo(f"{'wrote' if result.made else 'complete already, nothing was changed:'} {out}")
    click.echo("\n".join(summary_lines(result.summary)))
    if result.summary.problems:
        click.echo(f"every problem by name: {out}/problems.jsonl")
