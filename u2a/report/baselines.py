"""A run beside baselines on the same frozen encoders, pattern by pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from u2a.data.reading.split import split_names
from u2a.errors import U2AError
from u2a.evaluation import baselines
from u2a.evaluation.baselines import having
from u2a.evaluation.metrics import probabilities
from u2a.evaluation.scenarios import missing, patterns
from u2a.evaluation.scoring import classify
from u2a.evaluation.time_limit import TimeLimit
from u2a.evaluation.trained import Model, load
from u2a.recipe.task import TaskSection
from u2a.report.dedicated import dedicated_answers
from u2a.report.frozen import MOST, frozen_features, scored_side
from u2a.report.values.intervals import Z
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues, of_score
from u2a.report.values.sources import Differences
from u2a.report.verdict import verdict, worth_trying

#: Training samples, and seconds, that the comparison at a training's end is content with.
FEW, SECONDS, LEAST_SECONDS = 5000, 60.0, 30.0
#: How the table calls each baseline.
LABELS = {
    "majority": "most frequent class in training",
    "probe": "linear probe of exactly these modalities",
    "zero_filled": "one linear probe, zeros for what is missing",
    "mlp": "one small MLP with modality dropout",
    "dedicated": "u2a trained on exactly these modalities",
}


def run_baselines(
    model: Model,
    *,
    split: str | None = "test",
    seed: int = 0,
    every: bool = True,
    seconds: float = float("inf"),
) -> dict[str, Any]:
    """Score a trained model and the baselines of `LABELS` in availability patterns, on the same samples.

    Dedicated models are compared where they are trained (`u2a.training.dedicated`).

    Args:
        split: None: what the run was validated on.
        every: False: of more than two modalities only the complete pattern, those that lack one, and those
            of one alone.
        seconds: fits are ended after so many, all together, and fitted on at most `FEW` training samples.

    Returns:
        ``run``, ``split``, ``metric``, ``higher_is_better``, ``n``, ``fitted_on`` (training samples), ``cut``
        (fits that the time ended) and ``patterns``: ``missing``, ``n``, ``score`` and, for each baseline, its
        ``score``, the run's ``difference``, its 95 % ``interval`` over other samples, paired, and its standard
        ``error``; of a ``dedicated`` model also its ``run`` and the number of training samples that have none
        of its modalities, ``left_out``;
        ``verdict``, in words.

    Raises:
        U2AError: no such split, or training samples that cannot be read again (streams).
    """
    if model.recipe.data.streaming:
        raise U2AError("baselines read the training samples once more, which data.streaming cannot")
    task = model.recipe.task
    scored = scored_side(model, split)
    train, validation, test = frozen_features(model, scored, MOST if seconds == float("inf") else FEW)
    names, M = model.network.names, len(model.network.names)
    found = [p for p in patterns(M) if every or sum(p) in (1, M - 1, M)]
    encoded = model.encode(scored[0], places=scored[1])
    limit = TimeLimit(seconds, len(found) + 2)
    shared = {
        "zero_filled": baselines.zero_filled_probe(train, validation, test, found, limit),
        "mlp": baselines.dropout_mlp(train, validation, test, found, seed, limit),
    }
    rows = []
    for k, pattern in enumerate(found):
        there_N = having(test, pattern)
        if not there_N.any():
            continue
        logits_NC = classify(model.network, encoded, encoded.present_NM & torch.tensor(pattern))
        mine_NC = probabilities(logits_NC, task).numpy()[there_N]
        others = {
            "majority": baselines.majority(train, len(there_N), mine_NC.shape[1]),
            "probe": baselines.dedicated_probe(train, validation, test, pattern, limit),
            **{name: of_patterns[k] for name, of_patterns in shared.items()},
        }
        mine = _values(task, mine_NC, target := test.target[there_N])
        row: dict[str, Any] = {"missing": missing(names, pattern), "n": int(there_N.sum())}
        row["score"] = mine.score
        for name, p_NC in others.items():
            row[name] = _beside(mine, _values(task, _wide(p_NC[there_N], mine_NC.shape[1]), target))
        if not all(pattern) and (alone := dedicated_answers(model, pattern, *scored, there_N)):
            facts = {"run": str(alone.run), "left_out": alone.left_out}
            row["dedicated"] = _beside(mine, _values(task, alone.p_NC, target)) | facts
        rows.append(row)
    result = {
        "run": str(model.run),
        "split": split,
        "metric": (metric := task.selection_metric),
        "higher_is_better": task.spec(metric).higher_is_better,
        "n": len(test.target),
        "fitted_on": len(train.target),
        "cut": limit.cut,
        "patterns": rows,
    }
    return result | {"verdict": verdict(result, names, labels_of(rows), worth_trying(model))}


def labels_of(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """`LABELS` of the baselines that any of these patterns has."""
    return {name: label for name, label in LABELS.items() if any(name in row for row in rows)}


def training_verdict(run: str, seconds: float = SECONDS) -> list[str]:
    """What a finished training says of itself: where it is behind a baseline on its validation data.

    Args:
        seconds: how long the training took; fits take a tenth of it, and `SECONDS` at most.

    Raises:
        U2AError: see `run_baselines`.
    """
    model = load(run)
    data = model.recipe.data
    if data.holdout is None and not data.streaming and "val" not in split_names(data.shards):
        return [f"no validation data to compare with baselines on; on the test split: u2a baselines {run}"]
    allowed = min(SECONDS, max(LEAST_SECONDS, seconds / 10))
    result = run_baselines(model, split=None, every=False, seconds=allowed)
    head, *rest = result["verdict"]
    lines = [f"beside baselines on {_samples(result)}: {head}", *rest]
    if result["cut"]:
        cut = f"{result['cut']} of their fits were ended early, after {allowed:.0f} seconds in all"
        lines.append(f"{cut}; to their end: u2a baselines {run}")
    elif result["fitted_on"] == FEW:
        lines.append(f"baselines were fitted on {FEW} training samples; on all: u2a baselines {run}")
    return lines


def _samples(result: dict[str, Any]) -> str:
    """How many there are, and how many of them each pattern has where that is not all."""
    counts = {row["n"] for row in result["patterns"]} or {0}
    least, most = min(counts), max(counts)
    own = f" ({least} to {most} a pattern)" if least < most else f" ({most} a pattern)"
    return f"{result['n']} validation samples{own if least < result['n'] else ''}"


def _wide(p_NC: np.ndarray, n_classes: int) -> np.ndarray:
    """Zeros for classes that no training sample has."""
    return np.pad(p_NC, ((0, 0), (0, n_classes - p_NC.shape[1])))


def _values(task: TaskSection, p_NC: np.ndarray, target: np.ndarray) -> PseudoValues:
    p, y = torch.from_numpy(p_NC).float(), torch.from_numpy(target)
    return of_score(Predictions.of_probabilities(p, y, task, task.selection_metric))


def _beside(mine: PseudoValues, other: PseudoValues) -> dict[str, Any]:
    """The other's score, and the difference with what other samples would do to it, both on the same ones."""
    value_N1 = (mine.value_N - other.value_N)[:, None]
    found = Differences(value_N1, (), np.array([float(len(value_N1))]), mine.share)
    ((low, high),) = found.intervals()
    difference, error = mine.score - other.score, (high - low) / (2 * Z)
    return {"score": other.score, "difference": difference, "interval": [low, high], "error": error}
