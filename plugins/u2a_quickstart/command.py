"""``u2a quickstart``: the demonstration's data, made from a seed."""

from __future__ import annotations

from pathlib import Path

import click

from u2a.cli.base import Command


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("shards/quickstart"),
    show_default=True,
    help="Folder to make.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other data."
)
def quickstart(out: Path, seed: int) -> None:
    """Make the quickstart's data set: files, manifest and shards, in about twenty seconds.

    A folder that is complete for this seed stays as it is.
    """
    from u2a_quickstart.prepare import prepare

    if not (out / "quickstart.json").exists():
        click.echo(f"making {out} ...", err=True)
    made = prepare(out, seed)
    click.echo(
        f"{'made' if made else 'complete already:'} {out} (seed {seed}; the files are in {out / 'files'})"
    )
