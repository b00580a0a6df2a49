"""The Python API: load a run, evaluate it, predict with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from u2a.common.distributed import World, alone, default_workers
from u2a.common.terminal import console
from u2a.contract.modality import Example
from u2a.data.feeding.unreadable import Unreadable, lines_of
from u2a.data.preprocessors import build_preprocessors
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split
from u2a.errors import CheckpointError
from u2a.evaluation.branches import Branch
from u2a.evaluation.calibration import Calibration
from u2a.evaluation.encoding import BATCH_SIZE, Encoded, encode_split
from u2a.evaluation.explain import Explanation, explain
from u2a.evaluation.export import check_predictions, prediction_rows, write_predictions
from u2a.evaluation.predict import Prediction, Predictor
from u2a.evaluation.samples import Frame, samples_of
from u2a.evaluation.scenarios import (
    check_conditions,
    keep_mask,
    names_in,
    patterns,
    sweep,
    with_calibration,
    without_mask_tokens,
)
from u2a.evaluation.scoring import Scenario, Scorer
from u2a.evaluation.shown import model_rows, table
from u2a.evaluation.stand_ins import with_stand_ins
from u2a.recipe.sections import Recipe
from u2a.runs.build import build_model
from u2a.runs.checkpoint import current, load_current
from u2a.runs.folder import Run, find_run
from u2a.runs.owners import check_owners
from u2a.runs.published import meant


class Model:
    """A trained model with all that it needs to read files of its modalities.

    `predict` may be called by many threads at once: it changes nothing in the model. So may `evaluate`,
    `sweep` and `encode`; with ``data.workers`` above 0 each call starts processes of its own. Give each
    *process* a model of its own (load it after a fork, not before, where it is on a GPU).

    Attributes:
        recipe: the run's resolved recipe.
        network: the `u2a.method.model.U2A` module, in evaluation mode, on the device; its adapters
            are merged into the weights (`U2A.unmerge_lora` before changing any).
        run: the run folder it came from.
        notes: what is to be known of its numbers: plugins of another version than it was trained with.
    """

    def __init__(self, run: Run, recipe: Recipe, place: World, checkpoint: str) -> None:
        self.run, self.recipe, self.place = run, recipe, place
        self._told: dict[str, set[Unreadable]] = {}
        self.notes = check_owners(run.folder, recipe)
        for note in self.notes:
            if place.main:
                console.print(note, markup=False, highlight=False, soft_wrap=True)
        current(run.checkpoints, checkpoint.upper())  # before the encoders, which take long
        self.preprocessors = build_preprocessors(recipe)
        self.network = build_model(recipe)
        folder, self.meta = load_current(run.checkpoints, checkpoint.upper(), self.network)
        if self.meta["classes"] != list(recipe.task.classes):
            raise CheckpointError(f"{folder}: was trained on other classes than the recipe's task.classes")
        self.network.to(place.device).eval()
        self.network.merge_lora()
        self.calibration = Calibration.from_dict(self.meta.get("calibration")) or Calibration(recipe.task.kind)
        self.predictor = Predictor(self.network, recipe, self.preprocessors, place, self.calibration)

    @overload
    def predict(self, inputs: Mapping[str, Any], *, coverage: float | None = None) -> Prediction: ...
    @overload
    def predict(
        self, inputs: Sequence[Mapping[str, Any]] | Frame, *, coverage: float | None = None
    ) -> list[Prediction]: ...
    def predict(
        self, inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Frame, *, coverage: float | None = None
    ) -> Prediction | list[Prediction]:
        """Classify one sample, or a batch of samples whose presence may differ.

        Args:
            inputs: modality name to a value, or a list of these. A value is a path, the text itself, bytes of
                a file, or what the plugin takes: an image array ``[H, W, 3]`` or PIL image, ``(wave, rate)``,
                ``(frames, fps)``. None and absent names mean missing. Or a data frame, as `u2a.pack` takes it:
                columns that are no modality are left out.
            coverage: add prediction sets that hold the true class with this probability, e.g. 0.9.

        Raises:
            u2a.errors.U2AError: an unknown modality, no modality, or a value that cannot be read.
        """
        if isinstance(inputs, Mapping):
            return self.predictor.predict([self.predictor.read(inputs)], coverage)[0]
        return [
            prediction for part in self._read(inputs) for prediction in self.predictor.predict(part, coverage)
        ]

    def embed(self, inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Frame) -> np.ndarray:
        """The fused vector of samples, as `predict` takes them: what the classifier is linear in.

        Returns:
            float32, ``[N, F]``; ``[F]`` of one sample. With ``fusion = "sum"`` F is the model's width, else
            twice the encoders' widths together.
        """
        if isinstance(inputs, Mapping):
            return self.predictor.embed([self.predictor.read(inputs)])[0]
        parts = [self.predictor.embed(part) for part in self._read(inputs)]
        return np.concatenate(parts) if parts else np.zeros((0, self.network.fused_width), np.float32)

    def branch(self, name: str) -> Branch:
        """One modality by itself: its encoder, its tokens, its adapters as a PEFT folder."""
        return Branch(self.predictor, name)

    def _read(self, inputs: Sequence[Mapping[str, Any]] | Frame) -> Iterator[list[dict[str, Example]]]:
        samples = samples_of(inputs, self.network.names)
        for i in range(0, len(samples), BATCH_SIZE):
            yield [self.predictor.read(one) for one in samples[i : i + BATCH_SIZE]]

    def explain(self, inputs: Mapping[str, Any], *, label: str | None = None) -> Explanation:
        """What each modality of a sample contributed to a class's probability, exactly, from one encoding.

        Args:
            inputs: one sample, as `predict` takes it.
            label: the class; the most probable one if None.
        """
        return explain(self.predictor, self.predictor.read(inputs), label)

    def __repr__(self) -> str:
        task, names = self.recipe.task, ", ".join(self.network.names)
        scores = self.meta.get("validation") or {}
        shown = "".join(f"; validation {n} {scores[n]:.4f}" for n in (task.headline,) if n in scores)
        classes = f"{len(task.classes)} classes, {task.kind}"
        return f"Model({self.run}: {names}; {classes}; step {self.meta['step']}{shown})"

    def _repr_html_(self) -> str:
        return table(("", "u2a model"), model_rows(self))

    def encode(self, split: str | Split = "test", *, places: np.ndarray | None = None) -> Encoded:
        """One pass of the encoders over (places of) a split of the recipe's data, or one opened otherwise."""
        workers = self.recipe.data.workers
        opened = evaluation_split(self.recipe, split) if isinstance(split, str) else split
        if self.place.main and not opened.used.all():
            console.print(opened.notes[0], markup=False, highlight=False, soft_wrap=True)
        encoded = encode_split(
            self.network,
            opened,
            self.preprocessors,
            self.recipe.task,
            self.place,
            places=places,
            workers=default_workers(self.place) if workers is None else workers,
            skip=self.recipe.data.on_error == "skip",
        )
        n = len(encoded.keys) + len(encoded.unreadable)
        self.tell_unreadable(opened, encoded.unreadable, n)
        return encoded

    def tell_unreadable(self, split: Split, found: Sequence[Unreadable], n: int) -> None:
        """Say which of n samples of a split were left out, unless that was said already."""
        known = self._told.setdefault(split.name, set())
        new = [one for one in found if one not in known]
        known.update(new)
        for line in lines_of(split.name, new, n) if self.place.main else ():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def evaluate(
        self,
        drop: str | Sequence[str] = (),
        split: str = "test",
        *,
        keep: str | Sequence[str] = (),
        seed: int = 0,
        mask_tokens: bool = True,
        predictions: Path | None = None,
    ) -> Scenario:
        """Score a split with modalities dropped, beside the complete data on the same samples.

        Args:
            drop: names of modalities; one text is one name, or several with commas, as on the command line.
            keep: ``"text=0.3"`` keeps text in that share of the samples, chosen by `seed` and sample key.
            mask_tokens: False fills missing modalities with zeros.
            predictions: a CSV, JSONL or Parquet file for every sample's probabilities (see
                `u2a.evaluation.export.prediction_rows`): complete, and with these modalities dropped.
        """
        drop, keep = names_in(drop), names_in(keep)
        shares = check_conditions(self.network.names, drop, keep)
        names, encoded = self.network.names, self._encoded(split, mask_tokens)
        scorer = Scorer(self.network, encoded, self.recipe.task)
        kept_M = torch.tensor([name not in drop for name in names])
        kept_NM = keep_mask(encoded.keys, names, encoded.present_NM, shares, seed) & kept_M
        if predictions:
            changed = [kept_NM] if drop or shares else []
            self._write(predictions, encoded, [torch.ones_like(kept_M), *changed])
        if not shares:
            scenario = scorer.drop(drop)
            scenario = with_stand_ins(scenario, scorer) if mask_tokens else scenario
            return with_calibration(scenario, scorer, self.calibration)
        return scorer.keep(kept_NM, drop, {name: float(share) for name, share in shares.items()})

    def sweep(
        self,
        split: str = "test",
        *,
        seed: int = 0,
        mask_tokens: bool = True,
        predictions: Path | None = None,
    ) -> list[Scenario]:
        """Score every availability pattern of a split from one pass of the encoders (see `scenarios.sweep`).

        `predictions` as in `evaluate`, of every pattern.
        """
        encoded = self._encoded(split, mask_tokens)
        if predictions:
            kept = [torch.tensor(pattern) for pattern in patterns(len(self.network.names), seed)]
            self._write(predictions, encoded, kept)
        task = self.recipe.task
        return sweep(self.network, encoded, task, seed, self.calibration, stands_in=mask_tokens)

    def _encoded(self, split: str, mask_tokens: bool) -> Encoded:
        encoded = self.encode(split)
        return encoded if mask_tokens else without_mask_tokens(encoded)

    def _write(self, file: Path, encoded: Encoded, kept: Sequence[torch.Tensor]) -> None:
        check_predictions(file)
        if self.place.main:
            write_predictions(file, prediction_rows(self.network, encoded, self.recipe.task, kept))


def load(run: str | Path | None = None, *, checkpoint: str = "best", sets: Sequence[str] = ()) -> Model:
    """Load a trained run (the newest under ``runs/`` if none is named).

    Args:
        run: a run folder, or ``"owner/name"`` (``"owner/name@revision"``) on the hub.
        checkpoint: ``"best"`` or ``"last"``.
        sets: recipe overrides such as ``training.device=cpu``.

    Raises:
        u2a.errors.U2AError: no such run, a damaged checkpoint, other base weights, a missing plugin.
    """
    recipe = (found := find_run(meant(run))).recipe(tuple(sets))
    return Model(found, recipe, alone(recipe.training.device), checkpoint)  # under torchrun, each has its own
