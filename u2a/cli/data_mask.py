"""``u2a data mask``."""

from __future__ import annotations

import click

from u2a.cli.base import Command, comma_list, json_option, print_json, set_option


@click.command(cls=Command)
@click.argument("recipe")
@click.option("--rate", type=click.FloatRange(0, 1), required=True, help="Share of the samples to draw.")
@click.option("--missing", default="each", show_default=True, help="A modality, each (both), or any.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the draw; the recipe's seed if left out.")
@click.option("--split", "splits", multiple=True, callback=comma_list, help="Only these; all if left out.")
@click.option("--out", help="File to write; its default name holds rate, kind and seed.")
@set_option
@json_option
def mask(
    recipe: str,
    rate: float,
    missing: str,
    seed: int | None,
    splits: tuple[str, ...],
    out: str | None,
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw which samples of RECIPE's data lose which modalities, and write it as a table.

    int(rate x N) samples of each split are drawn. --missing NAME takes that modality from all of them; each
    divides them evenly among the modalities and takes one from each part; any leaves each of them a random
    proper subset. A recipe reads the table with: [data.missing] table = "FILE".
    """
    import os
    from pathlib import Path

    from u2a.data.reading.missing import draw_table
    from u2a.data.reading.missing_files import write_tables
    from u2a.data.reading.opening import open_recipe_split
    from u2a.data.shards.dataset import split_names
    from u2a.recipe.file import load_recipe

    loaded = load_recipe(recipe, sets)
    seed = loaded.seed if seed is None else seed
    tables = {}
    for name in splits or split_names(loaded.data.shards):
        opened = open_recipe_split(loaded, name, labelled=False)
        tables[name] = draw_table(opened, rate=rate, missing=missing, seed=seed)
    path = Path(out or f"{loaded.name}-missing-{missing}-{rate:g}-seed{seed}.safetensors")
    write_tables(path, tuple(loaded.modalities), tables)
    if as_json:
        found = {name: table.info.model_dump() for name, table in tables.items()}
        return print_json({"table": str(path), "splits": found})
    for name, table in tables.items():
        click.echo("\n".join(table.info.lines(name)))
    seen = os.path.relpath(path, Path(recipe).parent)  # paths in a recipe are relative to its folder
    return click.echo(f'wrote {path}; use it in {recipe} with: [data.missing] table = "{seen}"')
