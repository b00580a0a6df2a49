"""A classifier with scikit-learn's interface: for `cross_val_score`, `GridSearchCV` and what builds on them."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from u2a.common import terminal
from u2a.common.values import is_missing
from u2a.errors import U2AError
from u2a.evaluation.samples import samples_of
from u2a.evaluation.trained import Model, load
from u2a.recipe.file import as_recipe
from u2a.runs.folder import new_run
from u2a.starting.frame import pack
from u2a.starting.recipe_text import batch_for
from u2a.training.start import train


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Trains on samples that a program holds, and predicts with whatever is there.

    X is a list of dicts, an array of dicts, or a data frame: a column a modality, a cell what
    `u2a.Model.predict` takes (a path, the text, bytes, an array); None, NaN and absent names mean missing. y
    holds a class a sample, or is an array ``[N, C]`` of 0 and 1 for a multi-label task.

    Args:
        modalities: name to the section of a recipe, e.g. ``{"text": {"encoder": "./minilm"}}``.
        epochs: of training; the recipe's default if None, as for the next two.
        batch_size: of one optimizer step; few samples get a smaller one, as with `u2a init`.
        lr: the learning rate.
        seed: of weights, hold-out and order.
        holdout: share of the samples held out of training, to pick the best epoch and to calibrate; or None.
        sets: further overrides such as ``"model.lora_rank=4"``.
        folder: where run folders are kept; a temporary one that goes with this object if None.
        verbose: print what training prints.

    After `fit`, ``classes_`` holds the classes, sorted (of a multi-label task 0 to C - 1), and ``model_`` the
    trained `u2a.Model`.
    """

    def __init__(
        self,
        modalities: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        seed: int = 0,
        holdout: float | None = 0.15,
        sets: Sequence[str] = (),
        folder: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.modalities = modalities
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.holdout = holdout
        self.sets = sets
        self.folder = folder
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Classifier:
        """Train on all samples.

        Raises:
            u2a.errors.U2AError: what `u2a.pack` and `u2a.train` refuse, and labels that do not fit the samples.
        """
        if not self.modalities:
            raise U2AError('Classifier: name the modalities, e.g. {"text": {"encoder": "./minilm"}}')
        samples = samples_of(X, self.modalities)
        self.classes_, cells = _labels(y, len(samples))
        rows = [{**dict(one), **cell, "split": "train"} for one, cell in zip(samples, cells, strict=True)]
        root = Path(self.folder) if self.folder else self._folder()
        with _quiet(not self.verbose), tempfile.TemporaryDirectory(prefix="u2a-shards-") as shards:
            recipe = as_recipe(
                self._recipe(f"{shards}/shards", len(rows), multi="labels" in cells[0]), tuple(self.sets)
            )
            root.mkdir(parents=True, exist_ok=True)
            pack(rows, recipe, numbers="places")
            self._run = new_run(recipe, root).folder
            self.model_: Model = train(recipe, run=self._run)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated probabilities, ``[N, C]`` in the order of ``classes_``."""
        model = self._model()
        names = [str(c) for c in self.classes_]
        found = model.predict(samples_of(X, model.network.names))
        return np.array([[one.probabilities[name] for name in names] for one in found]).reshape(-1, len(names))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample; of a multi-label task ``[N, C]`` of 0 and 1."""
        model = self._model()
        names = {str(c): i for i, c in enumerate(self.classes_)}
        found = model.predict(samples_of(X, model.network.names))
        if model.recipe.task.kind == "single_label":
            return self.classes_[[names[one.labels[0]] for one in found]]
        return np.array([[int(name in one.labels) for name in names] for one in found]).reshape(-1, len(names))

    def _model(self) -> Model:
        if not hasattr(self, "_run"):
            raise NotFittedError("this Classifier is not fitted yet; call fit first")
        if not hasattr(self, "model_"):
            self.model_ = load(self._run)
        return self.model_

    def _recipe(self, shards: str, samples: int, multi: bool) -> dict[str, Any]:
        batch = self.batch_size or batch_for(int(samples * (1 - (self.holdout or 0))))
        given = {"epochs": self.epochs, "batch_size": batch, "lr": self.lr}
        return {
            "name": "classifier",
            "seed": self.seed,
            "data": {"shards": shards, **({"holdout": self.holdout} if self.holdout else {})},
            "task": {
                "kind": "multi_label" if multi else "single_label",
                "classes": [str(c) for c in self.classes_],
            },
            "modalities": {name: dict(section) for name, section in (self.modalities or {}).items()},
            "training": {name: value for name, value in given.items() if value is not None},
        }

    def _folder(self) -> Path:
        """A folder that goes when this object does."""
        made = tempfile.mkdtemp(prefix="u2a-")
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return Path(made)

    def __getstate__(self) -> dict[str, Any]:
        """A pickle holds the run's files; encoders are read again from where they were."""
        state = {k: v for k, v in super().__getstate__().items() if k not in ("model_", "_run")}
        if hasattr(self, "_run"):
            files = (path for path in self._run.rglob("*") if path.is_file())
            state["_files"] = {str(path.relative_to(self._run)): path.read_bytes() for path in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            self._run = self._folder() / "run"
            for name, content in files.items():
                (self._run / name).parent.mkdir(parents=True, exist_ok=True)
                (self._run / name).write_bytes(content)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.dict = False, True
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        return tags


def _labels(y: Any, n: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The classes, and each sample's cell of the manifest: places, since a name may look like other things."""
    target = np.asarray(y)
    if len(target) != n:
        raise U2AError(f"y has {len(target)} labels for {n} samples")
    if target.ndim == 1:
        missing = [i for i, value in enumerate(target) if is_missing(value)]
        if missing:
            raise U2AError(f"y: sample {missing[0]} has no label")
        classes, places = np.unique(target, return_inverse=True)
        if len(classes) < 2:
            raise U2AError("y: at least two classes are needed")
        return classes, [{"label": place} for place in places.tolist()]
    if target.ndim != 2 or not np.isin(target, (0, 1)).all():
        raise U2AError("y must hold a class a sample, or be an array of 0 and 1, a column a class")
    return np.arange(target.shape[1]), [{"labels": np.flatnonzero(row).tolist()} for row in target]


@contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """Without u2a's words; warnings and errors are raised as ever."""
    before = terminal.out.quiet, terminal.console.quiet
    if wanted:
        terminal.out.quiet = terminal.console.quiet = True
    try:
        yield
    finally:
        terminal.out.quiet, terminal.console.quiet = before
