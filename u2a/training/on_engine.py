"""Trainings on an engine's processes: one, or those of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from u2a.contract.engines import Engine, Race, Report
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.recipe.sections import Recipe
from u2a.runs.dedicated import finished
from u2a.runs.folder import Run
from u2a.training.grid import Job, Say
from u2a.training.start import check_same, place_of, train_recipe, what_to_train

#: Stands in the folder of a training that a race ended early: the same sweep does not go on with it.
ENDED_EARLY = "ended-early"


@dataclass(frozen=True)
class RunTraining:
    """A training for an engine: begins the run, or goes on with it, on whatever process calls it."""

    recipe: Recipe
    run: str

    @property
    def device(self) -> str:
        """``training.device``."""
        return self.recipe.training.device

    def __call__(self, report: Report) -> bool:
        return train_recipe(self.recipe, self.run, resume=True, report=report)[1]


def train_on(
    engine: Engine, source: str, sets: Sequence[str], folder: str | None, resume: bool, *, workers: int
) -> Run | None:
    """``u2a train --engine``; returns the run, or None where nothing was left to train.

    Raises:
        U2AError: what ``u2a train`` refuses.
    """
    recipe, folder = what_to_train(source, sets, folder, resume)
    run = place_of(recipe, folder, resume)
    try:
        trained = engine.train(_training(recipe, run), workers=workers)
    finally:
        run.discard_empty()
    return run if trained else None


def _training(recipe: Recipe, run: Run) -> RunTraining:
    return RunTraining(recipe, str(run) if run.elsewhere else str(run.folder.absolute()))


def run_jobs_on(engine: Engine, jobs: Sequence[Job], *, workers: int, say: Say) -> dict[Path, str]:
    """Train what is not finished, `workers` at once.

    The first seed of every cell is in a race, and only cells that stay in it get their other seeds: among seeds
    of one cell none is chosen, so that their mean is one.

    Returns:
        Why trainings failed, by run folder.

    Raises:
        U2AError: a folder holds a run of another recipe.
    """
    recipes = [load_recipe(job.recipe, job.sets) for job in jobs]
    for job, recipe in zip(jobs, recipes, strict=True):
        if job.run.exists:
            check_same(recipe, job.run)
    first: dict[tuple[str, ...], Job] = {}
    for job in jobs:
        first.setdefault(tuple(job.cell.values()), job)
    pairs = [(job, recipe, first[tuple(job.cell.values())]) for job, recipe in zip(jobs, recipes, strict=True)]
    racing = [(job, recipe) for job, recipe, leader in pairs if job is leader]
    race = _race([recipe for _, recipe in racing]) if len(racing) > 1 else None
    failed = _train(engine, racing, workers, race, say)
    others = [(job, recipe) for job, recipe, leader in pairs if job is not leader and not _ended_early(leader)]
    return failed | _train(engine, others, workers, None, say)


def _train(
    engine: Engine, jobs: Sequence[tuple[Job, Recipe]], workers: int, race: Race | None, say: Say
) -> dict[Path, str]:
    left = [(job, recipe) for job, recipe in jobs if not finished(job.run) and not _ended_early(job)]
    if not left:
        return {}
    say(f"{len(left)} of {len(jobs)} trainings to do, {min(workers, len(left))} at once")
    for job, _ in left:
        job.run.folder.mkdir(parents=True, exist_ok=True)
    reasons = engine.sweep([_training(recipe, job.run) for job, recipe in left], workers=workers, race=race)
    failed = {}
    for (job, _), reason in zip(left, reasons, strict=True):
        if reason:
            failed[job.run.folder] = reason
        elif not finished(job.run):
            (job.run.folder / ENDED_EARLY).touch()
            say(f"{job}: ended early, behind others in validation")
    return failed


def _ended_early(job: Job) -> bool:
    return (job.run.folder / ENDED_EARLY).exists()


def _race(recipes: Sequence[Recipe]) -> Race:
    """What the trainings of a grid can be compared by.

    Raises:
        U2AError: they are judged by different things.
    """
    judged = {f"{recipe.task.select_on} {recipe.task.selected_by}" for recipe in recipes}
    if len(judged) > 1:
        raise U2AError(
            f"--engine: trainings judged by {' and '.join(sorted(judged))} cannot be compared while they run; "
            "sweep without --engine, or over other keys"
        )
    return Race(max(recipe.training.epochs for recipe in recipes), recipes[0].task.selects_highest)
