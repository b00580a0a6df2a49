"""A run beside baselines on the same frozen encoders: where it is behind, and what to try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

from u2a.common.seeds import stable_seed
from u2a.data.reading.split import split_names
from u2a.errors import U2AError
from u2a.evaluation import baselines
from u2a.evaluation.baselines import having
from u2a.evaluation.metrics import compute_metric, higher_is_better, probabilities
from u2a.evaluation.scenarios import missing, patterns
from u2a.evaluation.scoring import classify
from u2a.evaluation.trained import Model, load
from u2a.report.frozen import frozen_features, scored_side

RESAMPLES = 200
#: How the table calls each baseline.
LABELS = {
    "majority": "majority class",
    "probe": "linear probe of exactly these modalities",
    "zero_filled": "one linear probe, zeros for what is missing",
    "mlp": "one small MLP with modality dropout",
}


def run_baselines(
    model: Model, *, split: str | None = "test", seed: int = 0, every: bool = True
) -> dict[str, Any]:
    """Score a trained model and the baselines of `LABELS` in availability patterns, on the same samples.

    Args:
        split: None: what the run was validated on.
        every: False: of more than two modalities only the complete pattern, those that lack one, and those
            of one alone.

    Returns:
        ``run``, ``metric`` and ``patterns``: ``missing``, ``n``, ``score`` and, for each baseline, its
        ``score``, the run's ``difference``, its 95 % ``interval`` over paired resamples of the samples and
        their deviation ``error``;
        ``verdict``, in words.

    Raises:
        U2AError: no such split, or training samples that cannot be read again (streams).
    """
    if model.recipe.data.streaming:
        raise U2AError("baselines read the training samples once more, which data.streaming cannot")
    metric = model.recipe.task.selection_metric
    scored = scored_side(model, split)
    train, validation, test = frozen_features(model, scored)
    names, M = model.network.names, len(model.network.names)
    found = [p for p in patterns(M) if every or sum(p) in (1, M - 1, M)]
    encoded = model.encode(scored[0], places=scored[1])
    shared = {
        "zero_filled": baselines.zero_filled_probe(train, validation, test, found),
        "mlp": baselines.dropout_mlp(train, validation, test, found, seed),
    }
    rows = []
    for k, pattern in enumerate(found):
        there_N = having(test, pattern)
        if not there_N.any():
            continue
        logits_NC = classify(model.network, encoded, encoded.present_NM & torch.tensor(pattern))
        mine_NC = probabilities(logits_NC, model.recipe.task).numpy()[there_N]
        others = {
            "majority": baselines.majority(train, len(there_N), mine_NC.shape[1]),
            "probe": baselines.dedicated_probe(train, validation, test, pattern),
            **{name: of_patterns[k] for name, of_patterns in shared.items()},
        }
        target = test.target[there_N]
        row: dict[str, Any] = {"missing": missing(names, pattern), "n": int(there_N.sum())}
        row["score"] = _score(metric, mine_NC, target)
        for name, p_NC in others.items():
            row[name] = _beside(metric, mine_NC, _wide(p_NC[there_N], mine_NC.shape[1]), target, seed)
        rows.append(row)
    result = {"run": str(model.run), "split": split, "metric": metric, "patterns": rows}
    return result | {"verdict": verdict(result, names)}


def training_verdict(run: str) -> list[str]:
    """What a finished training says of itself: where it is behind a baseline on its validation data.

    Raises:
        U2AError: see `run_baselines`.
    """
    model = load(run)
    data = model.recipe.data
    if data.holdout is None and not data.streaming and "val" not in split_names(data.shards):
        return [f"no validation data to compare with baselines on; on the test split: u2a baselines {run}"]
    result = run_baselines(model, split=None, every=False)
    n = max((row["n"] for row in result["patterns"]), default=0)
    head, *rest = result["verdict"]
    return [f"beside baselines on {n} validation samples: {head}", *rest]


def _wide(p_NC: np.ndarray, n_classes: int) -> np.ndarray:
    """Zeros for classes that no training sample has."""
    return np.pad(p_NC, ((0, 0), (0, n_classes - p_NC.shape[1])))


def _score(metric: str, p_NC: np.ndarray, target: np.ndarray) -> float:
    return compute_metric(metric, torch.from_numpy(p_NC).float(), torch.from_numpy(target))


def _beside(
    metric: str, mine_NC: np.ndarray, other_NC: np.ndarray, target: np.ndarray, seed: int
) -> dict[str, Any]:
    draw = np.random.default_rng(stable_seed("baselines", seed, len(target)))
    differences = []
    for _ in range(RESAMPLES):
        rows = draw.integers(len(target), size=len(target))
        pair = (_score(metric, p_NC[rows], target[rows]) for p_NC in (mine_NC, other_NC))
        differences.append(next(pair) - next(pair))
    low, high = np.nanquantile(differences, [0.025, 0.975])
    score = _score(metric, other_NC, target)
    difference = _score(metric, mine_NC, target) - score
    error = float(np.nanstd(differences))
    return {"score": score, "difference": difference, "interval": [float(low), float(high)], "error": error}


def verdict(result: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Where the run is behind a baseline by more than chance does in so many comparisons, and what to try."""
    sign = 1 if higher_is_better(result["metric"]) else -1
    rows = result["patterns"]
    z = norm.isf(0.025 / max(1, len(rows) * len(LABELS)))
    lines = []
    for row in rows:
        left = " + ".join(one for one in names if one not in row["missing"])
        for name, label in LABELS.items():
            difference, error = row[name]["difference"], row[name]["error"]
            if sign * difference < -z * error - 1e-9:
                lines.append(f"{left}: {abs(100 * difference):.1f} points behind the {label}")
    if not lines:
        return ["in no pattern behind a baseline by more than chance"]
    return [
        *lines,
        "try: more training.epochs, model.lora_rank = 4, or training.lr half and double of what it is",
    ]
