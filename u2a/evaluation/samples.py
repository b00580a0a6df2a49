"""What a program gives to predict: a list of samples, or a data frame that may hold other columns as well."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from u2a.common.frames import is_frame, rows_of
from u2a.common.hints import alike, meant
from u2a.errors import U2AError


class Frame(Protocol):
    """A table of pandas, polars or pyarrow."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""


def samples_of(inputs: Any, modalities: Collection[str]) -> list[Mapping[str, Any]]:
    """A sample a row; of a frame only the columns that hold a modality.

    Raises:
        U2AError: no rows of names and values, or a frame's column is nearly called as a modality that has none.
    """
    rows = rows_of(inputs)
    if not is_frame(inputs) or not rows:
        return rows
    known = {f"{name}{end}": name for name in modalities for end in ("", "_path")}
    held = {known[name] for name in rows[0] if name in known}
    for column in rows[0].keys() - known.keys():
        near = [k for k in alike(str(column).casefold(), known, cutoff=0.8) if known[k] not in held]
        if near:
            raise U2AError(f"data: column {column!r} is none of this run's modalities{meant(column, near)}")
    return [{name: value for name, value in row.items() if name in known} for row in rows]
