"""Samples to pack, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Cell:
    """What a sample has of one modality: a file, or text given in the manifest as its bytes."""

    extension: str
    content: Path | bytes

    def read(self) -> bytes:
        """The bytes of the member."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True)
class Row:
    """One sample of a manifest; `labels` is None for an unlabelled one, `cells` has no missing modality.

    `labels` are as they stand there until `u2a.data.packing.plan.planned_rows` makes class names of them.
    """

    line: int
    key: str
    split: str
    labels: tuple[str, ...] | None
    cells: dict[str, Cell]
    group: str | None = None


class RowSource(Protocol):
    """Where samples to pack come from: a `Manifest`, or the layout of a public data set.

    Attributes:
        path: the file or folder, for messages.
        extensions: modalities in recipe order, with the extensions that each reads.
    """

    path: Path
    extensions: dict[str, tuple[str, ...]]

    def rows(self, problems: list[str], split: str | None = None) -> Iterator[Row]:
        """Every usable row (of one split) in order, the same each time; faults go to `problems`."""
        ...
