"""``u2a eval``: score a run, complete and with modalities dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from u2a.cli.base import Command, checkpoint_option, comma_list, json_option, print_json, set_option
from u2a.cli.baselines import print_baselines
from u2a.common.streams import dots, print_table
from u2a.errors import U2AError

if TYPE_CHECKING:
    from u2a.evaluation.scoring import Scenario
    from u2a.recipe.sections import Recipe
    from u2a.runs.folder import Run


def eval_command(
    folder: str | None, *, sweep: bool, rates: str | None, baselines: bool, as_json: bool, **options: Any
) -> None:
    """``u2a eval``; `options` are those of `u2a.evaluation.commands.evaluate_run`."""
    from u2a.common.distributed import is_main_process
    from u2a.evaluation import commands

    if baselines and not sweep:
        raise U2AError("--baselines compares every pattern; use it with --sweep, or: u2a baselines RUN")
    if rates is not None:
        if sweep or options["drop"] or options["keep"]:
            raise U2AError("--rates weighs every pattern; use it without --drop, --keep and --sweep")
        if options.pop("predictions"):
            raise U2AError("--predictions writes scored patterns; with --rates there are none: use --sweep")
        return rates_command(folder, rates, as_json=as_json, **options)
    if sweep:
        return sweep_command(folder, baselines=baselines, as_json=as_json, **options)
    scenario, run = commands.evaluate_run(folder, **options)
    if not is_main_process():
        return None
    if as_json:
        found = {**_conditions(options), **scenario.as_dict(), **_unreadable(scenario)}
        return print_json({"run": str(run), **_notes(run), **found})
    n = f"N {scenario.n}, n_empty {scenario.n_empty}"
    n += f", n_unreadable {len(scenario.unreadable)}" if scenario.unreadable else ""
    click.echo(f"run {run}, split {options['split']}, {n}")
    print_table(*_scenario_table(scenario))
    return _print_details([scenario], run.recipe())


def sweep_command(
    folder: str | None,
    *,
    baselines: bool,
    as_json: bool,
    drop: Sequence[str],
    keep: Sequence[str],
    **options: Any,
) -> None:
    """``u2a eval --sweep``: every availability pattern from one pass of the encoders."""
    from u2a.common.distributed import is_main_process
    from u2a.evaluation import commands

    if drop or keep:
        raise U2AError("--sweep scores every pattern; use it without --drop and --keep")
    scenarios, run = commands.sweep_run(folder, **options)
    if not is_main_process():
        return None
    beside = _baselines(run, options) if baselines else None
    if as_json:
        patterns = [scenario.as_dict() for scenario in scenarios]
        more = _unreadable(scenarios[0]) | ({"baselines": beside} if beside else {})
        return print_json(
            {"run": str(run), **_notes(run), **_conditions(options), "patterns": patterns, **more}
        )
    click.echo(f"run {run}, split {options['split']}, {len(scenarios)} availability patterns")
    print_table(*_sweep_table(scenarios, run.recipe()))
    _print_details(scenarios, run.recipe())
    return print_baselines(beside) if beside else None


def _baselines(run: Run, options: dict[str, Any]) -> dict[str, Any]:
    from u2a.evaluation.trained import load
    from u2a.report.baselines import run_baselines

    model = load(run.folder, checkpoint=options["checkpoint"], sets=options["sets"])
    return run_baselines(model, split=options["split"], seed=options["seed"])


def _print_details(scenarios: Sequence[Scenario], recipe: Recipe) -> None:
    from u2a.evaluation.stand_ins import told

    if line := told(scenarios):
        click.echo(line)
    _print_calibration(scenarios, recipe)


def _print_calibration(scenarios: Sequence[Scenario], recipe: Recipe) -> None:
    """How far confidence can be believed, before and after calibration on validation data."""
    rows = [scenario for scenario in scenarios if scenario.calibrated]
    if not rows:
        return
    names = tuple(recipe.modalities)
    fitted = [key for key in rows[0].calibrated if key.endswith("_fitted")]
    headers = [column for key in fitted for column in (key.removesuffix("_fitted"), "at fitted thresholds")]
    (present, missing), lines = dots(), []
    for scenario in rows:
        found = scenario.calibrated
        marks = [missing if name in scenario.dropped else present for name in names]
        scores = [f"{found[k]:.4f}" for key in fitted for k in (key.removesuffix("_fitted"), key)]
        errors = [f"{found[key]:.3f}" for key in ("ece", "ece_calibrated", "ece_chance_calibrated")]
        sets = f"{100 * found['coverage']:.1f} %", f"{found['set_size']:.2f}"
        lines.append([*marks, *errors, *scores, *sets])
    print_table([*names, "ECE", "calibrated", "by chance", *headers, "90 % sets hold", "mean size"], lines)
    for scenario in rows:
        own = "+".join(name for name in names if name not in scenario.dropped)
        if (group := scenario.calibrated["set_from"]) != own:
            wide = "hold every class" if group == "none" else f"are those of {group}"
            click.echo(f"{own}: too few validation samples for 90 % sets of its own: they {wide}")
    before, after = (_mean(rows, key) for key in ("rises", "rises_calibrated"))
    if before is not None and after is not None:
        click.echo(
            f"confidence rises when a modality is taken away: {100 * before:.1f} % of cases, "
            f"calibrated {100 * after:.1f} %"
        )


def _mean(rows: Sequence[Scenario], key: str) -> float | None:
    """Over the patterns that have the figure, weighted by their samples."""
    known = [(row.calibrated[key], row.calibrated["n"]) for row in rows if row.calibrated[key] is not None]
    return sum(value * n for value, n in known) / sum(n for _, n in known) if known else None


def rates_command(folder: str | None, rates: str, *, as_json: bool, **options: Any) -> None:
    """``u2a eval --rates``: what to expect when modalities go missing independently."""
    from u2a.common.distributed import is_main_process
    from u2a.report.in_use import expect_run

    found, run = expect_run(folder, rates, **{k: v for k, v in options.items() if k not in ("drop", "keep")})
    if not is_main_process():
        return None
    if as_json:
        return print_json({"run": str(run), **_notes(run), **_conditions(options), **found})
    missing = ", ".join(f"{name} {100 * rate:g} %" for name, rate in found["rates"].items())
    click.echo(f"run {run}, split {options['split']}, N {found['n']}; missing: {missing}")
    low, high = found["interval"]
    what = f"expected {found['metric']}" if found["exact"] else f"mean of the patterns' {found['metric']}"
    part = f", weighed on {found['weighed']} samples" if (found["weighed"] or found["n"]) < found["n"] else ""
    click.echo(f"{what} {found['score']:.4f} (95 % interval {low:.4f} to {high:.4f}){part}")
    if found["worst"]:
        worst = found["worst"]
        without = ", ".join(worst["missing"]) or "nothing"
        click.echo(f"worst pattern: without {without}: {worst['score']:.4f}")
        side = "least" if found["higher_is_better"] else "most"
        click.echo(f"every pattern that can come: at {side} {found['bound']:.4f} (95 %, all patterns together)")
    rows = []
    for row in sorted(found["patterns"], key=lambda row: -row["share"]):
        if row["share"]:
            name = ", ".join(row["missing"]) or "nothing"
            rows.append([name, f"{100 * row['share']:.2f}", f"{row['score']:.4f}"])
    if found["nothing_left"] > 1e-12:
        rows.append(["everything", f"{100 * found['nothing_left']:.2f}", "no prediction"])
    return print_table(("missing", "% of samples", found["metric"]), rows)


def _notes(run: Run) -> dict[str, Any]:
    """What was said of the plugins' versions, where there was something."""
    from u2a.runs.owners import check_owners

    notes = check_owners(run.folder, run.recipe())
    return {"notes": notes} if notes else {}


def _unreadable(scenario: Scenario) -> dict[str, Any]:
    """The samples that are in no score, where there are some."""
    found = [one.as_dict() for one in scenario.unreadable]
    return {"unreadable": found} if found else {}


def _conditions(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("split", "seed", "mask_tokens")}


def _scenario_table(scenario: Scenario) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    rows = [["complete", *(f"{value:.4f}" for value in scenario.complete.values())]]
    kept = [f"{name} kept in {share:g} of the samples" for name, share in scenario.kept.items()]
    changed = [f"without {name}" for name in scenario.dropped] + kept
    if changed:
        rows.append([", ".join(changed), *(f"{value:.4f}" for value in scenario.scores.values())])
    return ["modalities", *scenario.complete], rows


def _sweep_table(scenarios: Sequence[Scenario], recipe: Recipe) -> tuple[list[str], list[list[str]]]:
    """Header and a row a pattern: full dots are present modalities; the change is from the complete data."""
    names, headline = tuple(recipe.modalities), next(iter(scenarios[0].scores))
    (present, missing), rows = dots(), []
    for scenario in scenarios:
        marks = [missing if name in scenario.dropped else present for name in names]
        difference = scenario.scores[headline] - scenario.complete[headline]
        values = [f"{value:.4f}" for value in scenario.scores.values()]
        rows.append([*marks, *values, f"{difference:+.4f}", str(scenario.n), str(scenario.n_empty)])
    if recipe.task.spec().form == "hits" and scenarios[0].majority is not None:
        rows.append([*missing * len(names), f"{scenarios[0].majority:.4f}", "(always the most frequent class)"])
    return [*names, *scenarios[0].scores, "change", "N", "n_empty"], rows


@click.command("eval", cls=Command)
@click.argument("run", required=False)
@click.option("--drop", multiple=True, metavar="M[,M]", callback=comma_list, help="Modalities to take away.")
@click.option("--keep", multiple=True, metavar="M=SHARE", help="Keep a modality in that share of the samples.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the samples of --keep.")
@click.option(
    "--rates", metavar="M=RATE,...", help="Expected score when M is missing at that rate, each by itself."
)
@click.option("--sweep", is_flag=True, help="Score every availability pattern from one pass.")
@click.option("--baselines", is_flag=True, help="With --sweep: beside what the same frozen encoders give.")
@click.option(
    "--without-mask-tokens",
    "mask_tokens",
    flag_value=False,
    default=True,
    help="Fill missing modalities with zeros instead.",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write key, label and every class's probability per sample and pattern: .csv, .jsonl or .parquet.",
)
@click.option("--split", default="test", show_default=True, help="The split to score.")
@checkpoint_option
@set_option
@json_option
def evaluate(run: str | None, **options: Any) -> None:
    """Score RUN (the newest if none is named), complete and with modalities dropped.

    Samples that dropping would empty are left out (n_empty); the complete score is on the same samples.
    """
    eval_command(run, **options)
