"""``u2a train``."""

from __future__ import annotations

import click

from u2a.cli.base import Command, set_option


@click.command(cls=Command)
@click.argument("recipe")
@set_option
@click.option("--run", "folder", metavar="DIR", help="The run folder; runs/<name>-<number> if left out.")
@click.option("--resume", is_flag=True, help="Go on with the run (or the recipe's newest run) if there is one.")
@click.option("--verdict/--no-verdict", default=True, show_default=True, help="End with a look at baselines.")
def train(recipe: str, sets: tuple[str, ...], folder: str | None, resume: bool, verdict: bool) -> None:
    """Train RECIPE (with --resume, a run folder will do).

    The same command runs on many processes under torchrun (without the two dashes, torchrun would take --run
    for an option of its own):

    torchrun --nproc-per-node 4 -m u2a -- train RECIPE
    """
    from u2a.common.distributed import is_main_process
    from u2a.common.terminal import out
    from u2a.training.start import train_command

    run = train_command(recipe, sets, folder, resume)
    if verdict and is_main_process():
        from u2a.report.verdict import training_verdict

        for line in training_verdict(run):
            out.print(line)
