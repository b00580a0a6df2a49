"""Runs side by side on the same samples: differences with a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from u2a.data.reading.opening import evaluation_split
from u2a.errors import U2AError
from u2a.evaluation import trained as api
from u2a.evaluation.metrics import higher_is_better
from u2a.evaluation.scoring import check_dropped, classify
from u2a.report.values.bootstrap import interval, resamples, scores_at
from u2a.report.values.predictions import Predictions
from u2a.runs.folder import find_run


def compare_runs(
    runs: Sequence[str],
    *,
    drop: Sequence[str] = (),
    split: str = "test",
    checkpoint: str = "best",
    sets: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Score runs on the samples that all of them can score, and compare each with the first.

    Returns:
        ``metric``, ``n``, ``n_empty`` and ``runs``: ``run``, ``score``, ``interval`` and, from the second on,
        ``difference``, ``difference_interval`` (95 %, the same resamples for both) and ``better`` (the share of
        resamples in which the run beats the first, of those that have a score).

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
    weights_RN = resamples(len(usable_N), seed)
    values_KR = [scores_at(predictions, usable_N, weights_RN) for _, predictions, _ in scored]
    scores_K = [predictions.at(usable_N).score() for _, predictions, _ in scored]
    rows: list[dict[str, Any]] = [
        {"run": str(run), "score": score, "interval": interval(values_R)}
        for run, score, values_R in zip(runs, scores_K, values_KR, strict=True)
    ]
    metric = scored[0][1].metric
    sign = 1 if higher_is_better(metric) else -1
    for row, values_R in zip(rows[1:], values_KR[1:], strict=True):
        difference_R = values_R - values_KR[0]
        row["difference"] = row["score"] - rows[0]["score"]
        row["difference_interval"] = interval(difference_R)
        defined_R = difference_R[~difference_R.isnan()]
        row["better"] = float((sign * defined_R > 0).double().mean())
    n = int(usable_N.sum())
    about = {"metric": metric, "split": split, "dropped": list(drop), "n": n, "n_empty": len(usable_N) - n}
    return about | {"runs": rows}


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
