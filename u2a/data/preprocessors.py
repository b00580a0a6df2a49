"""A recipe's preprocessors, each with the plugin that answers for it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from u2a.contract.blame import Owner, blame
from u2a.contract.modality import Example, Inputs, Preprocessor
from u2a.encoders.files import checkpoint_notes
from u2a.errors import PluginError, one_line
from u2a.plugins.building import building
from u2a.plugins.kinds import naming_kinds
from u2a.recipe.sections import Recipe


@dataclass(frozen=True)
class OwnedPreprocessor:
    """A plugin's preprocessor whose unforeseen errors name the plugin, in whatever process it runs."""

    name: str
    owner: Owner
    inner: Preprocessor

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """See `u2a.modality.Preprocessor`."""
        with blame(self.name, self.owner, "preprocessor"):
            return self.inner(member, train=train, seed=seed)

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """See `u2a.modality.Preprocessor`."""
        with blame(self.name, self.owner, "collate"):
            inputs = self.inner.collate(examples)
            _check_sendable(inputs)
            return inputs

    def lengths(self, bytes_N: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """See `u2a.modality.Preprocessor`; None where the plugin says nothing of lengths."""
        lengths = getattr(self.inner, "lengths", None)
        if lengths is None:
            return None
        with blame(self.name, self.owner, "lengths"):
            found_N = np.asarray(lengths(bytes_N), np.float64)
            if found_N.shape != bytes_N.shape or not np.isfinite(found_N).all():
                raise PluginError(f"lengths must give {len(bytes_N)} finite numbers, one a member")
            return found_N

    def constants(self) -> dict[str, Any] | None:
        """See `u2a.modality.Preprocessor`; None where the plugin does not say how inputs are made."""
        constants = getattr(self.inner, "constants", None)
        if constants is None:
            return None
        with blame(self.name, self.owner, "constants"):
            found = constants()
            try:
                json.dumps(found)
            except (TypeError, ValueError) as error:
                raise PluginError(f"constants must give plain values for JSON: {error}") from None
            if not isinstance(found, dict) or "reader" not in found:
                raise PluginError('constants must give a dict with a "reader"')
            if odd := [file for file in found.get("files", {}) if not re.fullmatch(r"[\w-][\w.-]*", file)]:
                raise PluginError(f"constants: {odd[0]!r} is not a file's name")
            return found


def build_preprocessors(recipe: Recipe) -> dict[str, Preprocessor]:
    """A preprocessor for each modality, in recipe order.

    Raises:
        PluginError: one cannot be built, or cannot be sent to data workers; names the distribution.
    """
    found: dict[str, Preprocessor] = {}
    for name, options in recipe.modalities.items():
        spec, owner = recipe.plugins.spec(options.kind), recipe.plugins.owners[options.kind]
        with building(name, owner, "preprocessor"), naming_kinds(recipe.plugins):
            inner = spec.preprocessor(options)
            _check_pickles(inner, "its preprocessor")
        found[name] = OwnedPreprocessor(name, owner, inner)
    return found


def encoder_notes(recipe: Recipe, preprocessors: Mapping[str, Preprocessor]) -> list[str]:
    """What is to be said of encoders' files before a training; plugins say it by preprocessors' ``notes``."""
    own = [
        f"modalities.{name}: {note}"
        for name, options in recipe.modalities.items()
        for note in checkpoint_notes(options)
    ]
    found = (
        (name, getattr(p.inner, "notes", ()))
        for name, p in preprocessors.items()
        if isinstance(p, OwnedPreprocessor)
    )
    return [*own, *(f"modalities.{name}: {note}" for name, notes in found for note in notes)]


def _check_sendable(inputs: Inputs) -> None:
    """Before a worker sends them: what fails then fails in a thread, and the loader waits for ever."""
    for key, value in inputs.items() if isinstance(inputs, Mapping) else ():
        if not isinstance(value, Tensor | np.ndarray | str | int | float):
            _check_pickles(value, f"collate gave {key!r}, which")


def _check_pickles(value: object, what: str) -> None:
    """Here, since the same fault in a worker would be a traceback out of multiprocessing, or nothing at all."""
    try:
        pickle.dumps(value)
    except Exception as error:  # pickling runs the plugin's own code
        reason = one_line(error, 200)
        raise PluginError(f"{what} cannot be pickled for data workers: {reason}") from error
