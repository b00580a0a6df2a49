"""What the dedicated models in a run's folder say of the run's samples (see `u2a.training.dedicated`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split
from u2a.evaluation.metrics import probabilities
from u2a.evaluation.scenarios import Pattern
from u2a.evaluation.scoring import classify
from u2a.evaluation.trained import Model, load
from u2a.runs.dedicated import cut, dedicated_run


@dataclass(frozen=True)
class Dedicated:
    """One dedicated model's answers.

    Attributes:
        p_NC: probabilities of the samples that were asked for.
        run: its run folder.
        left_out: training samples of the run that have none of its modalities, so that it never saw them.
    """

    p_NC: np.ndarray
    run: Path
    left_out: int


def dedicated_answers(
    model: Model, pattern: Pattern, split: Split, places: np.ndarray | None, there_N: np.ndarray
) -> Dedicated | None:
    """The answers of the model trained on a pattern's modalities alone; None where none is trained.

    Args:
        split, places: the run's samples (all if None).
        there_N: which of them can have the pattern, bool.
    """
    names = [name for name, kept in zip(model.network.names, pattern, strict=True) if kept]
    run = dedicated_run(model.run, model.recipe, names)
    if run is None:
        return None
    other = load(run.folder, sets=(f"training.device={model.recipe.training.device}",))
    recipe = cut(model.recipe, names)
    opened = evaluation_split(recipe, split.name)
    chosen = (np.arange(len(split)) if places is None else places)[there_N]
    rows = np.searchsorted(np.flatnonzero(opened.used), np.flatnonzero(split.used)[chosen])
    encoded = other.encode(opened, places=rows)
    p_NC = probabilities(classify(other.network, encoded, encoded.present_NM), recipe.task).numpy()
    trained_on = evaluation_split(recipe, "train").used
    left_out = evaluation_split(model.recipe, "train").used & ~trained_on
    return Dedicated(p_NC, run.folder, int(left_out.sum()))
