"""Some samples of a split, as files that a page can load."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from u2a.data.reading.opening import evaluation_split
from u2a.errors import U2AError
from u2a.media.magic import extension_of
from u2a.media.texts import decode_text

if TYPE_CHECKING:
    from u2a.data.reading.split import Split
    from u2a.evaluation.trained import Model

MOST = 8


@dataclass(frozen=True)
class One:
    """One sample.

    Attributes:
        key: its key.
        truth: its classes.
        values: modality to a file, or to the text itself.
    """

    key: str
    truth: tuple[str, ...]
    values: Mapping[str, str]


@dataclass(frozen=True)
class Examples:
    """Samples, the folder of their files, and why there are none."""

    samples: tuple[One, ...] = ()
    folder: str = ""
    note: str = field(default="")


@contextmanager
def examples_of(model: Model, split: str) -> Iterator[Examples]:
    """Samples of a split, of as many classes as there are; their files are gone after the block.

    Data that is not there is no error: a run may be on another machine than its data.
    """
    with tempfile.TemporaryDirectory(prefix="u2a-demo-") as folder:
        try:
            opened = evaluation_split(model.recipe, split)
            samples = tuple(_one(model, opened, i, Path(folder)) for i in _chosen(model, opened))
        except U2AError as error:
            yield Examples(note=f"no examples: {error}")
            return
        yield Examples(samples, folder)


def _chosen(model: Model, split: Split) -> list[int]:
    """Places of samples, one a class as long as there are new ones, then the first others."""
    seen: set[tuple[int, ...]] = set()
    first: list[int] = []
    others: list[int] = []
    for i in range(len(split)):
        label = tuple(split.labels(i))
        (others if label in seen else first).append(i)
        seen.add(label)
        if len(first) == MOST:
            break
    return sorted((first + others)[:MOST])


def _one(model: Model, split: Split, i: int, folder: Path) -> One:
    there = [name for name, present in zip(split.modalities, split.present_NM[i], strict=True) if present]
    values = {}
    for name, data in split.members(i, there).items():
        extensions = model.recipe.plugins.spec(model.recipe.modalities[name].kind).extensions
        if "txt" in extensions:
            values[name] = decode_text(data)
            continue
        file = folder / f"{i}-{name}.{extension_of(data, extensions)}"
        file.write_bytes(data)
        values[name] = str(file)
    return One(split.key(i), tuple(model.recipe.task.classes[c] for c in split.labels(i)), values)
