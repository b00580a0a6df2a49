"""``u2a baselines``: a run beside what the same frozen encoders give without it."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import click

from u2a.cli.base import Command, checkpoint_option, json_option, print_json, set_option
from u2a.common.terminal import out

if TYPE_CHECKING:
    from u2a.evaluation.trained import Model


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option("--split", default="test", show_default=True, help="The split to score.")
@checkpoint_option
@click.option(
    "--dedicated", is_flag=True, help="Train u2a on each pattern's modalities alone, in RUN's folder; resumes."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the MLP.")
@set_option
@json_option
def baselines(
    run: str | None,
    checkpoint: str,
    sets: tuple[str, ...],
    split: str,
    dedicated: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Score RUN (the newest if none is named) beside baselines on the same frozen encoders, pattern by pattern.

    Differences are RUN's, with 95 % intervals over other samples; the last lines say where it is behind.
    Dedicated models that are trained are shown from then on, here and in the report.
    """
    from u2a.evaluation.trained import load
    from u2a.report.baselines import run_baselines

    model = load(run, checkpoint=checkpoint, sets=sets)
    if dedicated:
        _train_dedicated(model)
    result = run_baselines(model, split=split, seed=seed)
    if as_json:
        print_json(result)
    else:
        print_baselines(result)


def _train_dedicated(model: Model) -> None:
    from u2a.training.dedicated import train_dedicated

    train_dedicated(model.run, model.recipe, say=lambda line: click.echo(line, err=True))


def print_baselines(result: dict[str, Any]) -> None:
    """Each pattern's score, each baseline's with the difference, and the verdict."""
    from u2a.report.baselines import labels_of

    out.print(f"run {result['run']}, split {result['split']}, {result['metric']} in percent")
    out.print("in brackets: 95 % intervals of the differences, each by itself")
    for row in result["patterns"]:
        without = f"without {', '.join(row['missing'])}" if row["missing"] else "complete"
        if isnan(row["score"]):
            out.print(f"{without} (N {row['n']}): not defined")
            continue
        out.print(f"{without} (N {row['n']}): {100 * row['score']:.1f}")
        for name, label in labels_of([row]).items():
            out.print(f"    {100 * row[name]['score']:5.1f}  {label}: {_difference(row[name])}")
    for line in result["verdict"]:
        out.print(line)


def _difference(beside: dict[str, Any]) -> str:
    """The run's, with its interval where there is one."""
    low, high = (f"{100 * bound:+.1f}" for bound in beside["interval"])
    interval = "" if isnan(beside["error"]) else f" ({low} to {high})"
    more = f"; {n} training samples left out" if (n := beside.get("left_out")) else ""
    return f"{100 * beside['difference']:+.1f}{interval}{more}"
