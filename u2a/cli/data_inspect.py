"""``u2a data inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from u2a.cli.base import Command, comma_list, json_option, print_json, set_option

if TYPE_CHECKING:
    from u2a.data.inspection.findings import SplitReport

MAX_CLASSES = 30


@click.command(cls=Command)
@click.argument("recipe")
@click.option("--split", "splits", multiple=True, callback=comma_list, help="Only these; all if left out.")
@click.option("--gallery", metavar="FILE.html", help="Write a page with samples of each class.")
@set_option
@json_option
def inspect(
    recipe: str,
    splits: tuple[str, ...],
    gallery: str | None,
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Look at RECIPE's data before training: balance, presence, sizes, and what looks wrong."""
    from pathlib import Path

    from u2a.data.inspection import findings as looking
    from u2a.recipe.file import load_recipe

    loaded = load_recipe(recipe, sets)
    opened = looking.open_splits(loaded, splits)
    report = looking.inspect(loaded, opened)
    if gallery:
        from u2a.data.inspection.gallery import pick_cards, write_gallery

        write_gallery(Path(gallery), loaded, report, pick_cards(opened, loaded))
    if as_json:
        return print_json(report.as_dict())
    for name, split in report.splits.items():
        _print_split(name, split)
    click.echo("what looks wrong" if report.wrong else "nothing looks wrong")
    for line in report.wrong:
        click.echo(f"  {line}")
    return None


def _print_split(name: str, split: SplitReport) -> None:
    click.echo(f"{name}: {split.samples} samples")
    for note in split.notes:
        click.echo(f"  {note}")
    for pattern, count in split.presence.items():
        click.echo(f"  {count:>8}  {pattern}")
    for modality, measures in split.measures.items():
        formats = ", ".join(f"{count} {kind}" for kind, count in split.formats[modality].items())
        click.echo(f"  {modality} (opened {formats})")
        for measure, (low, median, high) in measures.items():
            click.echo(f"    {measure:<16} {low:.6g} .. {median:.6g} .. {high:.6g}")
    for label, count in list(split.classes.items())[:MAX_CLASSES]:
        click.echo(f"  {count:>8}  {label}")
    if len(split.classes) > MAX_CLASSES:
        click.echo(f"  and {len(split.classes) - MAX_CLASSES} more classes; --json has them all")
