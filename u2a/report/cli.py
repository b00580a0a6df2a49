"""``u2a report`` and ``u2a compare``."""

from __future__ import annotations

from pathlib import Path

import click

from u2a.cli_base import Command, set_option

split_option = click.option("--split", default="test", show_default=True, help="The split to score.")
checkpoint_option = click.option(
    "--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True
)
folder_type = click.Path(file_okay=False, path_type=Path)


@click.command(cls=Command)
@click.argument("runs", nargs=-1, metavar="[RUN ...]")
@click.option("--out", type=folder_type, help="Folder to write; <first run>/report if left out.")
@click.option("--figures", type=folder_type, help="Save every chart as PNG and PDF there, too.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of resamples and test tables.")
@split_option
@checkpoint_option
@set_option
def report(
    runs: tuple[str, ...],
    out: Path | None,
    figures: Path | None,
    seed: int,
    split: str,
    checkpoint: str,
    sets: tuple[str, ...],
) -> None:
    """What a missing modality costs RUN (the newest if none is named): one HTML file, JSON and CSV.

    The first run is told in detail. Further runs of the same task add what they tell together: means and
    bands over seeds, and a map of training against test rates.
    """
    from u2a.report.write import write_report

    page = write_report(
        runs, out=out, figures=figures, seed=seed, split=split, checkpoint=checkpoint, sets=sets
    )
    click.echo(f"wrote {page}")
