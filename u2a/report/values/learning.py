"""How the runs were trained: losses and validation scores by epoch, and how many samples each class has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from u2a.data.inspection.findings import labels_of
from u2a.data.reading.opening import evaluation_split
from u2a.data.shards.dataset import split_names
from u2a.errors import U2AError
from u2a.recipe.sections import Recipe


def training_curve(metrics_file: Path, metric: str, best_step: int) -> dict[str, Any]:
    """One run's curve, a point an epoch, from ``metrics.jsonl``; empty lists where nothing was logged.

    Returns:
        ``epochs`` and ``losses``: the epoch's mean of the steps' losses; ``validated`` and ``scores``: epochs
        (0 = before the first step) and the metric; ``best``: the epoch of the checkpoint that is scored.
    """
    losses: dict[int, list[float]] = {}
    scores: dict[int, float] = {}
    best = None
    for line in _lines(metrics_file):
        epoch = int(line["epoch"])
        if line.get("type") == "train" and isinstance(line.get("loss"), float):
            losses.setdefault(epoch, []).append(line["loss"])
        elif metric in line and isinstance(line[metric], float):
            scores[epoch] = line[metric]
            best = epoch if line["step"] == best_step else best
    epochs, validated = sorted(losses), sorted(scores)
    return {
        "epochs": epochs,
        "losses": [float(np.mean(losses[epoch])) for epoch in epochs],
        "validated": validated,
        "scores": [scores[epoch] for epoch in validated],
        "best": best,
    }


def _lines(file: Path) -> list[dict[str, Any]]:
    """The lines that are whole; a crash may leave half a line."""
    found = []
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict) and isinstance(value.get("epoch"), int) and "step" in value:
            found.append(value)
    return found


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
