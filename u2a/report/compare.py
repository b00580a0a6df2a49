"""Runs side by side: recipes, or runs of one recipe, on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch

from u2a.data.reading.opening import evaluation_split
from u2a.errors import U2AError
from u2a.evaluation import trained as api
from u2a.evaluation.scoring import check_dropped, classify
from u2a.report.values.comparison import compare_recipes
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import on
from u2a.report.values.rates import train_condition
from u2a.report.values.recipes import signature
from u2a.runs.folder import Run, find_run


def compare_runs(
    runs: Sequence[str],
    *,
    drop: Sequence[str] = (),
    split: str = "test",
    checkpoint: str = "best",
    sets: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Score runs on the samples that all of them can score, and compare each recipe with the first.

    Runs that differ in their seed alone are one recipe; if all are, they are compared run by run.

    Returns:
        ``metric``, ``split``, ``dropped``, ``n``, ``n_empty`` and ``runs``, a row a recipe: ``run`` (its
        first), ``members``, ``seeds`` and what `u2a.report.values.comparison.compare_recipes` says.

    Raises:
        U2AError: fewer than two runs, runs with other classes, metric, data or missing table, or a dropped name
            that is no run's modality; what only some runs have is dropped from those.
    """
    if len(runs) < 2:
        raise U2AError("compare needs at least two runs: u2a compare RUN RUN")
    _check_drop(runs, drop, sets)
    scored = [_predict(run, drop, split, checkpoint, sets) for run in runs]
    for run, (identity, _, _) in zip(runs[1:], scored[1:], strict=True):
        _check_same(run, identity, runs[0], scored[0][0])
    usable_N = torch.stack([usable for _, _, usable in scored]).all(0)
    if not usable_N.any():
        raise U2AError(f"without {', '.join(drop)} the runs have no sample in common")
    task = scored[0][1].task
    found = [on(usable_N.numpy(), predictions) for _, predictions, _ in scored]
    recipes = _group([find_run(run) for run in runs], sets)
    rows = compare_recipes(
        [[found[i] for i in members] for members in recipes], task.spec().higher_is_better, seed
    )
    n = int(usable_N.sum())
    about = {
        "metric": task.headline,
        "split": split,
        "dropped": list(drop),
        "n": n,
        "n_empty": len(usable_N) - n,
    }
    seeds = [find_run(run).recipe(tuple(sets)).seed for run in runs]
    return about | {
        "runs": [
            {"run": str(runs[members[0]]), "members": [str(runs[i]) for i in members]}
            | {"seeds": [seeds[i] for i in members]}
            | row
            for members, row in zip(recipes, rows, strict=True)
        ]
    }


def _group(runs: Sequence[Run], sets: Sequence[str]) -> list[list[int]]:
    """The places of each recipe's runs, one a seed; every run for itself if there is one recipe alone."""
    recipes = [run.recipe(tuple(sets)) for run in runs]
    groups: list[tuple[Any, list[int]]] = []
    for i, recipe in enumerate(recipes):
        key = signature(recipe), train_condition(recipe)
        for known, members in groups:
            if known == key:
                members.append(i)
                break
        else:
            groups.append((key, [i]))
    if len(groups) == 1:
        return [[i] for i in range(len(runs))]
    for _, members in groups:
        for a, b in combinations(members, 2):
            if recipes[a].seed == recipes[b].seed:
                raise U2AError(f"{runs[b]}: is of the same recipe and seed as {runs[a]}; give one of the two")
    return [members for _, members in groups]


def _check_drop(runs: Sequence[str], drop: Sequence[str], sets: Sequence[str]) -> None:
    known = dict.fromkeys(name for run in runs for name in find_run(run).recipe(tuple(sets)).modalities)
    if unknown := [name for name in drop if name not in known]:
        raise U2AError(f"--drop {unknown[0]}: no such modality; these runs have {', '.join(known)}")


def _predict(
    run: str, drop: Sequence[str], split: str, checkpoint: str, sets: Sequence[str]
) -> tuple[dict[str, Any], Predictions, torch.Tensor]:
    """What must agree between runs, the predictions, and the samples that keep a modality."""
    model = api.load(run, checkpoint=checkpoint, sets=sets)
    task, names = model.recipe.task, model.network.names
    check_dropped(names, [name for name in drop if name in names])
    opened = evaluation_split(model.recipe, split)
    encoded = model.encode(opened)
    present_NM = encoded.present_NM & torch.tensor([name not in drop for name in names])
    predictions = Predictions.of(classify(model.network, encoded, present_NM), encoded.target, task)
    identity = {
        "classes": task.classes,
        "headline metric": task.headline,
        "test data or missing table": opened.fingerprint,
        "samples": encoded.place_N.tolist(),
    }
    return identity, predictions, present_NM.any(1)


def _check_same(run: str, mine: dict[str, Any], first_run: str, first: dict[str, Any]) -> None:
    for what, value in mine.items():
        if value != first[what]:
            hint = "; --set data.missing.test.rate=0 scores both on complete data" if "table" in what else ""
            raise U2AError(f"{run}: has other {what} than {first_run}; they cannot be compared{hint}")
