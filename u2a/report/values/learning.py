"""How the runs were trained: losses and validation scores by epoch, and how many samples each class has."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from u2a.data.inspection.findings import labels_of
from u2a.data.reading.opening import evaluation_split
from u2a.data.shards.dataset import split_names
from u2a.errors import U2AError
from u2a.recipe.sections import Recipe
from u2a.runs.folder import Run


def training_curve(run: Run, metric: str, best_step: int) -> dict[str, Any]:
    """One run's curve, a point an epoch, from ``metrics.jsonl``; empty lists where nothing was logged.

    Returns:
        ``epochs`` and ``losses``: the epoch's mean of the steps' losses; ``validated`` and ``scores``: epochs
        (0 = before the first step) and the metric; ``best``: the epoch of the checkpoint that is scored.
    """
    losses: dict[int, list[float]] = {}
    for line in run.lines("train"):
        if isinstance(line.get("loss"), float):
            losses.setdefault(line["epoch"], []).append(line["loss"])
    judged = [line for line in run.lines("validation") if isinstance(line.get(metric), float)]
    scores = {line["epoch"]: line[metric] for line in judged}
    epochs, validated = sorted(losses), sorted(scores)
    return {
        "epochs": epochs,
        "losses": [float(np.mean(losses[epoch])) for epoch in epochs],
        "validated": validated,
        "scores": [scores[epoch] for epoch in validated],
        "best": next((line["epoch"] for line in reversed(judged) if line["step"] == best_step), None),
    }


def class_counts(recipe: Recipe, scored: str, count_C: Tensor) -> dict[str, list[int]]:
    """How many samples of ``train`` and of the split that is scored have each class, in recipe order.

    A training split that is not there, or cannot be read, is left out: a run can be told without it.

    Args:
        count_C: of the split that is scored.
    """
    data, found = recipe.data.model_copy(update={"missing": None}), {}
    try:
        if scored != "train" and "train" in split_names(recipe.data.shards):
            train = evaluation_split(recipe.model_copy(update={"data": data}), "train")
            labels = [label for of_sample in labels_of(train) for label in of_sample]
            counts = np.bincount(np.array(labels, dtype=np.int64), minlength=len(count_C))
            found["train"] = counts.tolist()
    except (U2AError, OSError):
        pass
    return found | {scored: count_C.tolist()}
