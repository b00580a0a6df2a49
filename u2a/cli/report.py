"""``u2a report``, ``u2a compare`` and ``u2a sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from u2a.cli.base import Command, checkpoint_option, comma_list, json_option, print_json, set_option
from u2a.cli.engines import chosen, engine_options
from u2a.common.streams import can_print, print_table
from u2a.errors import U2AError

split_option = click.option("--split", default="test", show_default=True, help="The split to score.")
folder_type = click.Path(file_okay=False, writable=True, path_type=Path)


@click.command(cls=Command)
@click.argument("runs", nargs=-1, metavar="[RUN ...]")
@click.option("--out", type=folder_type, help="Folder to write; <first run>/report if left out.")
@click.option("--figures", type=folder_type, help="Save every chart as PNG and PDF there, too.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of resamples and test tables.")
@click.option(
    "--baselines/--no-baselines",
    "beside_baselines",
    default=True,
    show_default=True,
    help="Show the first run beside baselines on the same frozen encoders.",
)
@click.option(
    "--samples/--no-samples",
    "with_samples",
    default=True,
    show_default=True,
    help="Show the samples of the surest mistakes on the page; leave them out where data is private.",
)
@split_option
@checkpoint_option
@set_option
def report(
    runs: tuple[str, ...],
    out: Path | None,
    figures: Path | None,
    seed: int,
    beside_baselines: bool,
    with_samples: bool,
    split: str,
    checkpoint: str,
    sets: tuple[str, ...],
) -> None:
    """What a missing modality costs RUN (the newest if none is named): one HTML file, JSON and CSV.

    Runs that differ from the first in their seed alone are one recipe: all figures are means over them. Runs
    trained with other missing data add a map of training against test rates.
    """
    from u2a.report.write import write_report

    page = write_report(
        runs,
        out=out,
        figures=figures,
        seed=seed,
        split=split,
        checkpoint=checkpoint,
        sets=sets,
        beside_baselines=beside_baselines,
        with_samples=with_samples,
    )
    click.echo(f"wrote {page}")


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN ...")
@click.option("--drop", multiple=True, metavar="M[,M]", callback=comma_list, help="Modalities to take away.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of resamples.")
@split_option
@checkpoint_option
@set_option
@json_option
def compare(runs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """How much better or worse than the first RUN the others are, on the same samples.

    Runs that differ in their seed alone are one recipe: give several seeds of each, and the intervals count
    both other test samples and other seeds. With one seed each they count other test samples alone.
    """
    from u2a.report.compare import compare_runs

    result = compare_runs(runs, **options)
    if as_json:
        print_json(result)
    else:
        print_comparison(result)


@click.command(cls=Command)
@click.argument("recipe")
@click.option("--seeds", default="0,1,2", show_default=True, metavar="S,S,...", help="A training for each.")
@click.option("--grid", multiple=True, metavar="KEY=V,V,...", help="Recipe values to combine.")
@click.option("--out", type=folder_type, help="Folder of the runs; runs/sweeps/<recipe's name> if left out.")
@click.option("--nproc", type=click.IntRange(min=1), default=1, show_default=True, help="Processes a training.")
@click.option("--split", default="test", show_default=True, help="The split to score.")
@engine_options
@set_option
@json_option
def sweep(
    recipe: str,
    seeds: str,
    grid: tuple[str, ...],
    out: Path | None,
    nproc: int,
    split: str,
    engine: str | None,
    workers: int | None,
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train RECIPE for every combination of --grid values and seeds; mean and deviation over seeds.

    Repeat the command to go on: finished trainings are kept, an interrupted one resumes. A training that
    fails is named, and the rest goes on. Afterwards: u2a report <folder>/*/seed-*

    With --engine, --workers trainings run at a time; values that fall behind in validation are ended early.
    """
    from u2a.recipe.file import load_recipe
    from u2a.training import grid as sweeps
    from u2a.training.on_engine import run_jobs_on

    cluster = chosen(engine, workers)
    if cluster and nproc > 1:
        raise U2AError("--nproc beside --engine: a training of a sweep is one process there; leave it out")
    parsed = sweeps.parse_grid(grid)
    folder = out or Path("runs/sweeps") / load_recipe(recipe, sets).name
    jobs = sweeps.plan_jobs(recipe, parsed, _seeds(seeds), sets, folder)
    if cluster:
        failed = run_jobs_on(cluster, jobs, workers=workers or 1, say=_say)
    else:
        failed = sweeps.run_jobs(jobs, nproc=nproc, say=_say)
    result = sweeps.collect(jobs, split, sets, _say)
    sweeps.write_sweep(result, folder)
    if as_json:
        print_json(result)
    else:
        print_sweep(result)
        click.echo(f"wrote {folder / 'sweep.json'} and sweep.csv")
    if failed:
        raise U2AError("\n".join(f"{run}: training failed ({why})" for run, why in failed.items()))


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        seeds = [-1]
    if min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise U2AError(f"--seeds {text}: expected different whole numbers from 0, e.g. --seeds 0,1,2")
    return seeds


def _say(line: str) -> None:
    click.echo(line, err=True)


def print_comparison(result: dict[str, Any]) -> None:
    """A row a recipe: score and difference to the first, both in percent with 95 % intervals."""
    missing = f", without {', '.join(result['dropped'])}" if result["dropped"] else ""
    click.echo(f"split {result['split']}{missing}, N {result['n']}, n_empty {result['n_empty']}")
    rows = []
    for row in result["runs"]:
        more = f" and {len(row['members']) - 1} more" if len(row["members"]) > 1 else ""
        cells = [row["run"] + more, str(len(row["seeds"])), _value(row["score"], row["interval"], "{:.2f}")]
        if "difference" in row:
            cells.append(_value(row["difference"], row["simultaneous_interval"], "{:+.2f}"))
            cells += [f"{100 * row['better']:.1f} %", row["verdict"] or "seeds not covered"]
        rows.append(cells)
    score = f"{result['metric']} % (95 %)"
    print_table(("run", "seeds", score, "difference (95 %)", "better in", "verdict"), rows)
    click.echo(comparison_rule(result))


def comparison_rule(result: dict[str, Any]) -> str:
    """What the intervals of a comparison cover, in a sentence."""
    others = result["runs"][1:]
    rows = "all rows together" if len(others) > 1 else "the one row"
    if all(row["seeds_counted"] for row in others):
        return f"Differences: other test samples and other seeds are counted, {rows} in 95 %."
    return (
        f"Differences: other test samples are counted, {rows} in 95 %; other seeds are not, where a recipe has "
        "one run: such a row says nothing of its recipe. Give runs of several seeds."
    )


def print_sweep(result: dict[str, Any]) -> None:
    """A row a cell of the grid: mean ± standard deviation over seeds in percent, with all that the data has."""
    if not result["cells"]:
        return click.echo("no training is finished")
    keys, metrics = result["cells"][0]["values"], result["cells"][0]["patterns"][0]["mean"]
    rows = []
    for cell in result["cells"]:
        complete = cell["patterns"][0]
        scores = [_mean_sd(complete["mean"][metric], complete["sd"][metric]) for metric in metrics]
        rows.append([*cell["values"].values(), str(len(cell["seeds"])), *scores])
    return print_table([*keys, "seeds", *(f"{metric} %" for metric in metrics)], rows)


def _mean_sd(mean: float, sd: float | None) -> str:
    sign = "±" if can_print("±") else "+-"
    return f"{100 * mean:.2f}" if sd is None else f"{100 * mean:.2f} {sign} {100 * sd:.2f}"


def _value(value: float, interval: list[float], form: str) -> str:
    low, high = (form.format(100 * bound) for bound in interval)
    return f"{form.format(100 * value)} ({low} to {high})"
