"""``u2a params``: how many parameters a recipe has, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from u2a.cli.base import Command, json_option, print_json, set_option
from u2a.common.streams import print_table

if TYPE_CHECKING:
    from u2a.runs.build import Part


@click.command(cls=Command)
@click.argument("recipe")
@set_option
@json_option
def params(recipe: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Count RECIPE's parameters, without reading any weights."""
    from u2a.recipe.file import load_recipe
    from u2a.runs.build import build_model, count_parameters

    parts = count_parameters(build_model(load_recipe(recipe, sets), weights=False))
    total, learnable = sum(p.total for p in parts), sum(p.learnable for p in parts)
    if as_json:
        print_json({"total": total, "learnable": learnable, "parts": [vars(part) for part in parts]})
        return
    rows = [(_named(part), f"{part.total:,}", f"{part.learnable:,}") for part in parts]
    print_table(("part", "total", "learnable"), [*rows, ("all", f"{total:,}", f"{learnable:,}")])


def _named(part: Part) -> str:
    """A part of nothing is a frozen copy that another part has already."""
    return part.name if part.total else f"{part.name} (shared: counted above)"
