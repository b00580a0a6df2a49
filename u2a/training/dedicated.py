"""Training a run's dedicated models: one for each set of modalities, with everything else as in the run."""

from __future__ import annotations

from collections.abc import Sequence

from u2a.common.files import write_text
from u2a.errors import U2AError
from u2a.evaluation.scenarios import patterns
from u2a.recipe.file import dump_recipe
from u2a.recipe.sections import Recipe
from u2a.runs.dedicated import cut, dedicated_run, folder_of
from u2a.runs.folder import Run
from u2a.training.grid import Job, Say, run_jobs


def train_dedicated(run: Run, recipe: Recipe, *, say: Say) -> None:
    """Train what is not finished of the models that a run's patterns are compared with, in the run's folder.

    Of more than two modalities these are each one alone, and all but one. All together is the run itself.

    Args:
        recipe: the run's, with overrides of where it is computed.

    Raises:
        U2AError: the recipe takes modalities away from samples, or trainings that failed (the others are kept).
    """
    if recipe.data.missing is not None:
        raise U2AError("--dedicated: data.missing draws over all of the run's modalities; give it data without")
    names = list(recipe.modalities)
    wanted = [one for one in _subsets(names) if dedicated_run(run, recipe, one) is None]
    jobs = []
    for kept in wanted:
        path = folder_of(run, kept).with_suffix(".toml")
        path.parent.mkdir(exist_ok=True)
        write_text(path, dump_recipe(cut(recipe, kept)))
        jobs.append(Job(str(path), {"modalities": "+".join(kept)}, recipe.seed, Run(folder_of(run, kept)), ()))
    if failed := run_jobs(jobs, say=say):
        lines = (f"{folder}: training failed ({why})" for folder, why in failed.items())
        raise U2AError("\n".join(lines))


def _subsets(names: Sequence[str]) -> list[list[str]]:
    kept = [[n for n, there in zip(names, p, strict=True) if there] for p in patterns(len(names))]
    return [one for one in kept if len(one) in {1, len(names) - 1} - {len(names)}]
