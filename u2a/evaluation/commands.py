"""Scoring a run folder, on all processes where there are many: what `u2a eval` and `u2a.evaluate` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from u2a.common.distributed import world
from u2a.evaluation.export import check_predictions
from u2a.evaluation.scenarios import check_conditions, names_in
from u2a.evaluation.scoring import Scenario
from u2a.evaluation.trained import Model
from u2a.runs.folder import Run, find_run


def evaluate(
    run: str | Path | None = None,
    *,
    drop: str | Sequence[str] = (),
    split: str = "test",
    checkpoint: str = "best",
) -> Scenario:
    """Score a run (the newest if none is named) with modalities dropped, as ``u2a eval`` does."""
    return evaluate_run(run, drop=drop, split=split, checkpoint=checkpoint, sets=())[0]


def evaluate_run(
    run: str | Path | None,
    *,
    drop: str | Sequence[str] = (),
    keep: str | Sequence[str] = (),
    seed: int = 0,
    mask_tokens: bool = True,
    split: str = "test",
    checkpoint: str = "best",
    sets: Sequence[str] = (),
    predictions: Path | None = None,
) -> tuple[Scenario, Run]:
    """`Model.evaluate` on a run, on all processes under torchrun; returns the run as well."""
    found = find_run(run)
    recipe = found.recipe(tuple(sets))
    check_conditions(tuple(recipe.modalities), names_in(drop), names_in(keep))
    if predictions:
        check_predictions(predictions)
    with world(recipe.training.device) as place:
        model = Model(found, recipe, place, checkpoint)
        options: dict[str, Any] = {"seed": seed, "mask_tokens": mask_tokens, "predictions": predictions}
        return model.evaluate(drop, split, keep=keep, **options), found


def sweep_run(
    run: str | Path | None,
    *,
    seed: int = 0,
    mask_tokens: bool = True,
    split: str = "test",
    checkpoint: str = "best",
    sets: Sequence[str] = (),
    predictions: Path | None = None,
) -> tuple[list[Scenario], Run]:
    """`Model.sweep` on a run, on all processes under torchrun; returns the run as well."""
    found = find_run(run)
    recipe = found.recipe(tuple(sets))
    if predictions:
        check_predictions(predictions)
    with world(recipe.training.device) as place:
        model = Model(found, recipe, place, checkpoint)
        return model.sweep(split, seed=seed, mask_tokens=mask_tokens, predictions=predictions), found
