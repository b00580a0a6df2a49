"""What the commands do, once parsed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from rich.console import Console
from rich.table import Table

from u2a import api
from u2a.build import build_model, count_parameters
from u2a.cli_base import print_json
from u2a.distributed import World, is_main_process, world
from u2a.errors import U2AError
from u2a.evaluation import Scenario
from u2a.plugins import registry
from u2a.recipe import Recipe
from u2a.recipe_file import load_recipe
from u2a.run import Run, latest_run, new_run
from u2a.trainer import Trainer

out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def train_command(source: str, sets: Sequence[str], folder: str | None, resume: bool) -> None:
    """``u2a train``."""
    if Path(source).is_dir():
        if not resume:
            raise U2AError(f"{source} is a folder; to go on with a run: u2a train {source} --resume")
        folder, recipe = source, Run(source).recipe(tuple(sets))
    else:
        recipe = load_recipe(source, sets)
    train_recipe(recipe, folder, resume)


def train_recipe(recipe: Recipe, folder: str | None, resume: bool) -> Run:
    """Begin or go on with a run, on this process's place under torchrun; returns the run."""
    with world(recipe.training.device) as place:
        run = _choose_run(recipe, folder, resume, place)
        try:
            _train(recipe, run, place)
        finally:
            if place.main and folder is None:
                run.discard_empty()
    return run


def _train(recipe: Recipe, run: Run, place: World) -> None:
    plugins = registry()
    if not run.exists:
        trainer = Trainer(recipe, run, place, plugins)
        if place.main:
            run.create(recipe, plugins)
    else:
        check_same(recipe, run)
        trainer = Trainer(recipe, run, place, plugins)
        if (run.checkpoints / "LAST").exists():
            trainer.resume()
        elif place.main:
            run.forget_after(0)  # what was logged before the first checkpoint is done again
    if place.main:
        out.print(f"run {run}" + (f", from step {trainer.done} of {trainer.total}" if trainer.done else ""))
    if trainer.saved < 0 or trainer.done < trainer.total or trainer.owes_validation:
        trainer.fit()
    if place.main:
        out.print(f"done; score it with: u2a eval {run}")


def _choose_run(recipe: Recipe, folder: str | None, resume: bool, place: World) -> Run:
    """The first process chooses, or refuses; all others follow."""
    chosen: list[str | U2AError] = [""]
    if place.main:
        run = Run(folder) if folder else (resume and latest_run(recipe)) or new_run(recipe)
        refused = U2AError(f"{run} holds a run already; go on with it: --resume; or name another folder")
        chosen = [refused if run.exists and not resume else str(run)]
    if place.size > 1:
        dist.broadcast_object_list(chosen)
    if isinstance(chosen[0], U2AError):
        raise chosen[0]
    return Run(chosen[0])


def check_same(recipe: Recipe, run: Run) -> None:
    """Refuse a run that was trained with another recipe; where it is computed may differ.

    Raises:
        U2AError: names the keys that differ.
    """
    before, now = run.recipe().resolved(), recipe.resolved()
    # a run may go on elsewhere
    machine = dict.fromkeys(("device", "loggers", "workers", "cache_dir", "cache_gb"))
    for section in ("training", "data"):
        before[section] = {**before[section], **machine}
        now[section] = {**now[section], **machine}
    if keys := list(_differing(before, now)):
        raise U2AError(f"{run}: was trained with another recipe ({', '.join(keys)} differ)")
    if list(before["modalities"]) != list(now["modalities"]):
        raise U2AError(
            f"{run}: was trained with the modalities in another order: {', '.join(before['modalities'])}"
        )


def _differing(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys whose values differ, those of only one of the two included."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}"


def eval_command(folder: str | None, *, sweep: bool, as_json: bool, **options: Any) -> None:
    """``u2a eval``; `options` are those of `u2a.api.evaluate_run`."""
    if sweep:
        return sweep_command(folder, as_json=as_json, **options)
    scenario, run = api.evaluate_run(folder, **options)
    if not is_main_process():
        return None
    if as_json:
        return print_json({"run": str(run), **_conditions(options), **scenario.as_dict()})
    out.print(f"run {run}, split {options['split']}, N {scenario.n}, n_empty {scenario.n_empty}")
    return out.print(_scenario_table(scenario))


def sweep_command(
    folder: str | None, *, as_json: bool, drop: Sequence[str], keep: Sequence[str], **options: Any
) -> None:
    """``u2a eval --sweep``: every availability pattern from one pass of the encoders."""
    if drop or keep:
        raise U2AError("--sweep scores every pattern; use it without --drop and --keep")
    scenarios, run = api.sweep_run(folder, **options)
    if not is_main_process():
        return None
    if as_json:
        patterns = [scenario.as_dict() for scenario in scenarios]
        return print_json({"run": str(run), **_conditions(options), "patterns": patterns})
    out.print(f"run {run}, split {options['split']}, {len(scenarios)} availability patterns")
    return out.print(_sweep_table(scenarios, run.recipe()))


def _conditions(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("split", "seed", "mask_tokens")}


def _scenario_table(scenario: Scenario) -> Table:
    table = Table("modalities", *scenario.complete, box=None)
    table.add_row("complete", *(f"{value:.4f}" for value in scenario.complete.values()))
    kept = [f"{name} kept in {share:g} of the samples" for name, share in scenario.kept.items()]
    changed = [f"without {name}" for name in scenario.dropped] + kept
    if changed:
        table.add_row(", ".join(changed), *(f"{value:.4f}" for value in scenario.scores.values()))
    return table


def _sweep_table(scenarios: Sequence[Scenario], recipe: Recipe) -> Table:
    """A row a pattern: filled dots are present modalities; the difference is to the complete data."""
    names, headline = tuple(recipe.modalities), next(iter(scenarios[0].scores))
    table = Table(*names, *scenarios[0].scores, "change", "N", "n_empty", box=None)
    for scenario in scenarios:
        dots = ["○" if name in scenario.dropped else "●" for name in names]
        difference = scenario.scores[headline] - scenario.complete[headline]
        values = [f"{value:.4f}" for value in scenario.scores.values()]
        table.add_row(*dots, *values, f"{difference:+.4f}", str(scenario.n), str(scenario.n_empty))
    if headline == "accuracy":
        table.add_row(*"○" * len(names), f"{1 / len(recipe.task.classes):.4f}", "(chance)")
    return table


def params_command(path: str, sets: Sequence[str], as_json: bool) -> None:
    """``u2a params``."""
    parts = count_parameters(build_model(load_recipe(path, sets), registry(), weights=False))
    total, learnable = sum(p.total for p in parts), sum(p.learnable for p in parts)
    if as_json:
        print_json({"total": total, "learnable": learnable, "parts": [vars(part) for part in parts]})
        return
    table = Table("part", "total", "learnable", box=None)
    for part in parts:
        table.add_row(part.name, f"{part.total:,}", f"{part.learnable:,}")
    table.add_row("all", f"{total:,}", f"{learnable:,}")
    out.print(table)
