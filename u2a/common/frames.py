"""Data frames of whichever library, as rows; none of them is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from u2a.errors import U2AError

_WANTED = "data must be a data frame or a list of dicts, one a sample"


def is_frame(data: Any) -> bool:
    """Whether it is a table of pandas, polars (also one not computed yet) or pyarrow."""
    return any(hasattr(data, name) for name in ("to_pylist", "to_dicts", "collect")) or _is_pandas(data)


def rows_of(data: Any) -> list[Mapping[str, Any]]:
    """The rows of a frame, or of any iterable of dicts.

    Raises:
        U2AError: it has no rows of names and values.
    """
    if isinstance(data, Mapping | str | bytes):
        raise U2AError(_WANTED)
    if hasattr(data, "collect"):  # polars, not computed yet
        data = data.collect()
    if hasattr(data, "to_pylist"):  # pyarrow
        return list(data.to_pylist())
    if hasattr(data, "to_dicts"):  # polars
        return list(data.to_dicts())
    if _is_pandas(data):
        return [{str(name): value for name, value in row.items()} for row in data.to_dict("records")]
    rows = _listed(data)
    if odd := [type(row).__name__ for row in rows if not isinstance(row, Mapping)]:
        raise U2AError(f"data: every sample must be a dict, not {odd[0]}")
    return rows


def _listed(data: Any) -> list[Any]:
    """What an iterable gives; of a torch ``Dataset`` as many as it says, which may go on for ever if asked."""
    if not hasattr(data, "__iter__") and hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return [data[i] for i in range(len(data))]
    try:
        return list(iter(data))
    except TypeError as error:
        if hasattr(data, "__iter__") or hasattr(data, "__getitem__"):
            raise
        raise U2AError(f"{_WANTED}, not {type(data).__name__}") from error


def _is_pandas(data: Any) -> bool:
    return hasattr(data, "to_dict") and hasattr(data, "columns")
