"""``u2a push``: adapters, recipe, calibration and a card to the hub, never the frozen weights."""

from __future__ import annotations

from pathlib import Path

import click

from u2a.cli.base import Command, checkpoint_option, set_option


@click.command(cls=Command)
@click.argument("run")
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="A new repository is private.")
@click.option("--scores/--no-scores", default=True, help="Score every pattern for the card's table.")
@click.option("--split", default="test", show_default=True, help="What the table is of.")
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="MODALITY=OWNER/NAME[@REVISION]",
    help="Where on the hub the base weights of a local folder are.",
)
@checkpoint_option
@click.option(
    "--to-folder", type=click.Path(path_type=Path), help="Write what would be pushed, and push nothing."
)
@set_option
def push(
    run: str,
    repository: str,
    private: bool,
    scores: bool,
    split: str,
    bases: tuple[str, ...],
    checkpoint: str,
    to_folder: Path | None,
    sets: tuple[str, ...],
) -> None:
    """Put RUN on the hub as OWNER/NAME: a few MB.

    Adapters, mask tokens, head, calibration, the recipe without this machine's paths, the plugins it needs with
    their versions, and a card with every pattern's scores. Base weights are named by id, revision and SHA-256
    and stay where they are. Others load it with u2a.load("OWNER/NAME"), or use hf://OWNER/NAME for a run.
    """
    from u2a_hub.publish import publish

    said = publish(
        run,
        repository,
        private=private,
        split=split if scores else None,
        bases=bases,
        checkpoint=checkpoint,
        folder=to_folder,
        sets=sets,
    )
    click.echo(said)
