"""Predictions for the rows of a manifest: batch after batch, here or on an engine's processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from u2a.contract.modality import Example
from u2a.data.packing.sources import Row
from u2a.errors import U2AError
from u2a.evaluation.trained import Model, load
from u2a.runs.folder import Run

#: Samples that are predicted together. Results depend on it, in their last digits.
BATCH = 32


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in lists of `BATCH`."""
    left = iter(rows)
    while batch := list(islice(left, BATCH)):
        yield batch


def predict_rows(
    model: Model, rows: Sequence[Row], *, top: int | None = None, coverage: float | None = None
) -> list[dict[str, Any]]:
    """The key of each row with its `Prediction.as_dict`, or with an ``error`` where it cannot be read.

    Raises:
        U2AError: a coverage outside 0..1, or one that no validation data backs.
    """
    examples: dict[int, dict[str, Example]] = {}
    errors: dict[int, str] = {}
    for i, row in enumerate(rows):
        try:
            examples[i] = model.predictor.read({name: cell.read() for name, cell in row.cells.items()})
        except U2AError as error:
            errors[i] = str(error)
    found = dict(zip(examples, model.predictor.predict(list(examples.values()), coverage), strict=True))
    return [
        {"key": row.key, **(found[i].as_dict(top) if i in found else {"error": errors[i]})}
        for i, row in enumerate(rows)
    ]


@dataclass(frozen=True)
class RowPredictor:
    """For an engine: each process loads the model once, and then takes `batches`."""

    run: str
    checkpoint: str
    sets: tuple[str, ...]
    top: int | None
    coverage: float | None

    @classmethod
    def of(
        cls, run: Run, checkpoint: str, sets: Sequence[str], top: int | None, coverage: float | None
    ) -> RowPredictor:
        """That of a run, by its whole path."""
        place = str(run) if run.elsewhere else str(run.folder.absolute())
        return cls(place, checkpoint, tuple(sets), top, coverage)

    def __call__(self) -> Callable[[Sequence[Row]], list[dict[str, Any]]]:
        model = load(self.run, checkpoint=self.checkpoint, sets=self.sets)
        return partial(predict_rows, model, top=self.top, coverage=self.coverage)
