"""Dedicated models of a run: its recipe cut to some of its modalities, trained alone, kept in its folder.

    runs/movies-001/dedicated/image+text/      a run of its own

Only finished trainings of the run's own recipe count: what a run was before more epochs is no match for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from u2a.errors import CheckpointError, RecipeError
from u2a.recipe.sections import Recipe
from u2a.runs.checkpoint import current, verify
from u2a.runs.folder import Run
from u2a.runs.moves import without_machine

FOLDER = "dedicated"


def cut(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with these of its modalities alone, in their order."""
    kept = {name: options for name, options in recipe.modalities.items() if name in names}
    return recipe.model_copy(update={"modalities": kept})


def folder_of(run: Run, names: Sequence[str]) -> Path:
    """Where the model of these modalities lies."""
    return run.folder / FOLDER / "+".join(names)


def dedicated_run(run: Run, recipe: Recipe, names: Sequence[str]) -> Run | None:
    """The finished training on these modalities alone, if there is one of this recipe."""
    found = Run(folder_of(run, names))
    if not found.exists or not finished(found):
        return None
    mine, wanted = (without_machine(one.resolved()) for one in (found.recipe(), cut(recipe, names)))
    return found if mine == wanted else None


def finished(run: Run) -> bool:
    """Whether the last checkpoint is of the last step or of patience's end, and validated if it can be."""
    try:
        last, best = (current(run.checkpoints, name) for name in ("LAST", "BEST"))
        meta, patience = verify(last), run.recipe().training.patience
    except (CheckpointError, RecipeError):
        return False
    ended = meta["step"] >= meta["total_steps"] or 0 < patience <= meta.get("stale", 0)
    # Where there is nothing to validate on, the last checkpoint is the best.
    return ended and (bool(meta["validation"]) or last == best)
