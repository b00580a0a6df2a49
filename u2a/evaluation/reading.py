"""From what is given for a sample (paths, bytes, arrays, text) to what its preprocessors make of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from u2a.common.values import is_missing, looks_like_file, short
from u2a.contract.blame import blame
from u2a.contract.modality import Example, Preprocessor
from u2a.data.packing.values import standing, unwrapped
from u2a.errors import BadSample, U2AError
from u2a.recipe.sections import Recipe


class SampleReader:
    """Reads a sample's values; it needs no network."""

    def __init__(self, recipe: Recipe, preprocessors: Mapping[str, Preprocessor]) -> None:
        self.recipe, self.preprocessors = recipe, preprocessors

    def read(self, values: Mapping[str, Any]) -> dict[str, Example]:
        """One sample's values (paths, bytes, arrays, text), preprocessed. None and NaN mean missing.

        What a value is does not depend on what it says: of a modality of texts it is the text, and under the
        name with ``_path`` a path, as in manifests. As there, JSON stands for itself where a modality reads it.

        Raises:
            U2AError: an unknown modality, none at all, an unreadable file or value; it is named.
        """
        given: dict[str, Any] = {}
        for name, value in values.items():
            modality = name if name in self.preprocessors else str(name).removesuffix("_path")
            if modality not in self.preprocessors:
                raise U2AError(f"{name}: no such modality; this run has {', '.join(self.preprocessors)}")
            if is_missing(value := unwrapped(value)):
                continue
            if modality in given:
                raise U2AError(f"{modality}: is given twice, as {modality} and as {modality}_path")
            given[modality] = value if modality == name else Path(value)
        if not given:
            raise U2AError(f"give at least one of {', '.join(self.preprocessors)}")
        return {name: self._example(name, value) for name, value in given.items()}

    def _example(self, name: str, value: Any) -> Example:
        where = f"{name} ({value})" if isinstance(value, str | Path) else name
        try:
            return self.preprocessors[name](self._member(name, value), train=False, seed=0)
        except BadSample as error:
            raise BadSample(f"{_short(where)}: {error}") from error

    def _member(self, name: str, value: Any) -> bytes:
        if isinstance(value, bytes):
            return value
        spec = self.recipe.plugins.spec(self.recipe.modalities[name].kind)
        if isinstance(value, str) and (made := _standing(name, value, spec.extensions)):
            return made
        inline_text = isinstance(value, str) and "txt" in spec.extensions
        if inline_text and looks_like_file(value) and os.path.isfile(value):
            raise U2AError(
                f"{name}: {short(value)} is a file; to read it: {name}_path (--{name}-path on the command line)"
            )
        if isinstance(value, str | Path) and not inline_text:
            return _read_file(name, Path(value))
        if spec.to_member is None:
            raise U2AError(f"{name}: give a path or bytes; its plugin takes no {type(value).__name__}")
        owner = self.recipe.plugins.owners[self.recipe.modalities[name].kind]
        with blame(name, owner, "to_member"):
            try:
                return spec.to_member(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise BadSample(str(error)) from error


def _standing(name: str, value: str, extensions: Sequence[str]) -> bytes | None:
    """The object or numbers that a text is, where it is no file's name."""
    try:
        made = None if os.path.exists(value) else standing(name, value, extensions)
    except ValueError as error:
        raise BadSample(str(error).removeprefix(f"column {name!r}: ")) from None
    return made and made[1]


def _read_file(name: str, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise U2AError(f"{name}: {path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise U2AError(f"{name}: {path}: cannot be read: {getattr(error, 'strerror', error)}") from None
    if not content:
        raise BadSample(f"{name}: {path}: is empty")
    return content


def _short(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
