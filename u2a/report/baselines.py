"""A run beside baselines on the same frozen encoders, pattern by pattern, with paired intervals.

Shape suffixes: N samples, C classes, K rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from u2a.data.feeding.plan import holdout
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split, split_names
from u2a.data.shards.twins import twin_groups
from u2a.errors import U2AError
from u2a.evaluation import baselines, frozen
from u2a.evaluation.baselines import Features, having
from u2a.evaluation.encoding import Encoded, encode_columns, encode_split
from u2a.evaluation.scenarios import Pattern, patterns
from u2a.evaluation.scoring import classify
from u2a.evaluation.tokens import token_columns
from u2a.evaluation.trained import Model, load
from u2a.method.model import U2A
from u2a.plugins.loading import registry
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import PseudoValues, on
from u2a.report.values.sources import Differences
from u2a.report.verdict import verdict
from u2a.runs.build import build_model

#: Where a recipe has nothing to validate on, strengths are chosen on this share of the training samples.
HELD_SHARE = 0.2
TINY = 1e-7


def run_baselines(
    run: str | None, *, split: str = "test", checkpoint: str = "best", sets: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """`compare_with_baselines` of a run folder; the newest run if none is named."""
    return compare_with_baselines(load(run, checkpoint=checkpoint, sets=sets), split, seed=seed)


def compare_with_baselines(
    model: Model,
    split: str | None = "test",
    *,
    seed: int = 0,
    most: tuple[int, int] | None = None,
    few: bool = False,
) -> dict[str, Any]:
    """Score a run and the baselines of `u2a.report.verdict.LABELS` on the same samples.

    Args:
        split: None for the test split if there is one, else what the training was validated on.
        most: training samples that baselines are fitted on, and samples that are judged, at most.
        few: with many modalities the complete pattern, one missing and one alone; else as in a sweep.

    Returns:
        ``run``, ``split``, ``metric``, ``n``, ``n_train`` and ``patterns``: ``missing``, ``n``, ``score``
        and, for each baseline, its ``score``, the run's ``difference``, the paired ``interval`` of it alone and
        its ``simultaneous_interval`` (all rows together); ``verdict``, in words.

    Raises:
        U2AError: no samples to judge.
    """
    recipe, names = model.recipe, model.network.names
    task = recipe.task.model_copy(update={"metric": recipe.task.selection_metric})
    reader = _Reader(model, most)
    name, encoded, test = reader.judged(split)
    n_train, train, validation = reader.fitted()
    found = [p for p in patterns(len(names)) if not few or sum(p) in (1, len(names) - 1, len(names))]
    C = len(task.classes)
    shared = {
        "zero_filled": baselines.zero_filled_probe(train, validation, test, found, C),
        "mlp": baselines.dropout_mlp(train, validation, test, found, C, seed),
    }
    rows: list[dict[str, Any]] = []
    pairs: list[tuple[dict[str, Any], str, PseudoValues, PseudoValues]] = []
    for k, pattern in enumerate(found):
        there_N = having(test, pattern)
        if not there_N.any():
            continue
        logits_NC = classify(model.network, encoded, encoded.present_NM & torch.tensor(pattern))
        mine = on(there_N, Predictions.of(logits_NC, encoded.target, task))
        others: dict[str, np.ndarray | None] = {
            "majority": baselines.majority(train, len(there_N), C),
            "probe": baselines.dedicated_probe(train, validation, test, pattern, C),
            **{baseline: of_patterns[k] for baseline, of_patterns in shared.items()},
        }
        row = {"missing": _missing(names, pattern), "n": int(there_N.sum()), "score": mine.score}
        rows.append(row)
        for baseline, p_NC in others.items():
            if p_NC is not None:
                logits = _logits(p_NC, multi_label=task.kind == "multi_label")
                pairs.append((row, baseline, mine, on(there_N, Predictions.of(logits, encoded.target, task))))
    _put_differences(pairs, seed)
    result: dict[str, Any] = {
        "run": str(model.run),
        "split": name,
        "metric": recipe.task.selection_metric,
        "patterns": rows,
    }
    result |= {"n": len(test.target), "n_train": n_train, "n_train_used": len(train.target)}
    result |= {"part": most is not None and n_train > most[0], "step": model.meta["step"]}
    training = recipe.training
    result["recipe"] = {"fusion": recipe.model.fusion, "modality_dropout": training.modality_dropout}
    result["recipe"]["head_start"] = training.head_start
    return result | {"verdict": verdict(result, names)}


def _put_differences(
    pairs: Sequence[tuple[dict[str, Any], str, PseudoValues, PseudoValues]], seed: int
) -> None:
    value_NK = np.stack([mine.value_N - other.value_N for _, _, mine, other in pairs], 1)
    found = Differences.of_one(value_NK[None], pairs[0][2].share)
    alone, together = found.intervals(), found.intervals(found.simultaneous(seed))
    for k, (row, name, mine, other) in enumerate(pairs):
        difference = mine.score - other.score
        row[name] = {"score": other.score, "difference": difference}
        row[name] |= {"interval": alone[k], "simultaneous_interval": together[k]}


def _missing(names: Sequence[str], pattern: Pattern) -> list[str]:
    return [name for name, kept in zip(names, pattern, strict=True) if not kept]


def _logits(p_NC: np.ndarray, *, multi_label: bool) -> Tensor:
    """Logits that have these probabilities."""
    p = torch.from_numpy(np.clip(p_NC, TINY, 1 - TINY)).double()
    return (p.logit() if multi_label else p.log()).float()


class _Reader:
    """Frozen tokens of a run's data: as the training kept them, else encoded once more."""

    def __init__(self, model: Model, most: tuple[int, int] | None) -> None:
        self.model, self.recipe, self.most = model, model.recipe, most
        self.seed = model.recipe.seed
        self._frozen: U2A | None = None

    def judged(self, split: str | None) -> tuple[str, Encoded, Features]:
        """The split's name, what the trained model makes of its samples, and their frozen tokens."""
        there = split_names(self.recipe.data.shards)
        name = split or next((one for one in ("test", "val") if one in there), None)
        if name is None and self.recipe.data.holdout is None:
            raise U2AError("no test split and nothing held out: there are no samples to judge on")
        opened = evaluation_split(self.recipe, name or "train")
        places = np.arange(len(opened)) if name else np.flatnonzero(self._held(opened))
        places = self._draw(places, None if self.most is None else self.most[1])
        model = self.model
        encoded = encode_split(
            model.network, opened, model.preprocessors, self.recipe.task, model.place, places=places
        )
        return name or "held-out training", encoded, self._encode(opened, places)

    def fitted(self) -> tuple[int, Features, Features]:
        """The number of training samples, those that baselines are fitted on, and those they are chosen on."""
        train, val = self._kept("train"), self._kept("val")
        most = None if self.most is None else self.most[0]
        if train is None or (val is None and self._validates):
            opened = evaluation_split(self.recipe, "train")
            held_N = self._held(opened)
            train = self._encode(opened, self._draw(np.flatnonzero(~held_N), most))
            n_train = int((~held_N).sum())
            if self.recipe.data.holdout is not None:
                val = self._encode(opened, self._draw(np.flatnonzero(held_N), most))
            elif self._validates:
                other = evaluation_split(self.recipe, "val")
                val = self._encode(other, self._draw(np.arange(len(other)), most))
        else:
            n_train = frozen.count(self.model.run.folder, "train")
        train = train if most is None else frozen.part_of(train, most, self.seed)
        if val is not None:
            return n_train, train, val if most is None else frozen.part_of(val, most, self.seed)
        held_N = holdout(len(train.target), HELD_SHARE, self.seed)
        return n_train, frozen.rows_of(train, ~held_N), frozen.rows_of(train, held_N)

    @property
    def _validates(self) -> bool:
        return self.recipe.data.holdout is not None or "val" in split_names(self.recipe.data.shards)

    def _kept(self, name: str) -> Features | None:
        identity = self.model.meta["data_fingerprint"]
        return frozen.kept(self.model.run.folder, name, identity, part=self.most is not None)

    def _held(self, opened: Split) -> np.ndarray:
        share = self.recipe.data.holdout
        groups_N = twin_groups([index for index, _, _ in opened.indexes()]) if share else None
        return holdout(len(opened), share, self.seed, groups_N)

    def _draw(self, places: np.ndarray, most: int | None) -> np.ndarray:
        if most is None or len(places) <= most:
            return places
        return np.sort(np.random.default_rng(self.seed).permutation(places)[:most])

    def _encode(self, split: Split, places: np.ndarray) -> Features:
        model = self.model
        if self._frozen is None:
            self._frozen = build_model(self.recipe, registry()).to(model.place.device).eval()
        columns = encode_columns(
            self._frozen,
            split,
            model.preprocessors,
            self.recipe.task,
            model.place,
            token_columns,
            places=places,
            workers=self.recipe.data.workers or 0,
        )
        return frozen.features_of(columns, len(self._frozen.names))
