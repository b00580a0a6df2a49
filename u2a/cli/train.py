"""``u2a train``."""

from __future__ import annotations

from time import monotonic

import click

from u2a.cli.base import Command, set_option
from u2a.cli.engines import chosen, engine_options
from u2a.common.terminal import out
from u2a.errors import U2AError, one_line


@click.command(cls=Command)
@click.argument("recipe")
@set_option
@click.option(
    "--run",
    "folder",
    metavar="DIR",
    help="The run folder, or an address (s3://...); runs/<name>-<number> if left out.",
)
@click.option("--resume", is_flag=True, help="Go on with the run (or the recipe's newest run) if there is one.")
@click.option(
    "--baselines/--no-baselines",
    "compare",
    default=True,
    show_default=True,
    help="At the end, compare with probes of the frozen encoders.",
)
@engine_options
def train(
    recipe: str,
    sets: tuple[str, ...],
    folder: str | None,
    resume: bool,
    compare: bool,
    engine: str | None,
    workers: int | None,
) -> None:
    """Train RECIPE (with --resume, a run folder will do).

    The same command runs on many processes under torchrun (without the two dashes, torchrun would take --run
    for an option of its own):

    torchrun --nproc-per-node 4 -m u2a -- train RECIPE

    and on processes of a cluster with --engine.
    """
    from u2a.common.distributed import is_main_process
    from u2a.training.on_engine import train_on
    from u2a.training.start import train_command

    began = monotonic()
    if cluster := chosen(engine, workers):
        run = train_on(cluster, recipe, sets, folder, resume, workers=workers or 1)
    else:
        run = train_command(recipe, sets, folder, resume)
    if run is not None and compare and is_main_process():
        _say_verdict(str(run), monotonic() - began)


def _say_verdict(run: str, seconds: float) -> None:
    """Where the run is behind a baseline, on validation data; nothing in this costs the training."""
    from u2a.report.baselines import training_verdict

    try:
        lines = training_verdict(run, seconds)
    except (KeyboardInterrupt, MemoryError) as error:
        lines = [f"not compared with baselines: {type(error).__name__}; later: u2a baselines {run}"]
    except Exception as error:  # the training is done and saved, whatever happens here
        kind = "" if isinstance(error, U2AError) else f"{type(error).__name__}: "
        lines = [f"not compared with baselines: {kind}{one_line(error)}"]
    for line in lines:
        out.print(line)
