"""A JSON object to one number or category a column. P samples, F columns with numbers, G with categories."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from u2a.contract.modality import Example, Inputs
from u2a.errors import BadSample
from u2a_plugin_tabular.options import Categories, Columns, Numbers

#: A row is a handful of cells; more than this is something else.
MAX_BYTES = 1 << 24
MISSING, UNKNOWN = 0, 1
KNOWN = 2  #: the number of a column's first category


@dataclass(frozen=True)
class TabularPreprocessor:
    """Member bytes to ``numbers`` float32 [F] and ``categories`` long [G]; collated with P in front.

    Columns keep the recipe's order. A missing number is NaN; a category is `MISSING`, `UNKNOWN`, or its place
    among the column's values plus `KNOWN`. A cell is missing if its column is absent, null or NaN. Columns
    that the recipe does not name are ignored.
    """

    columns: Columns

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Read one row.

        Raises:
            BadSample: not a JSON object, a value of the wrong kind, or no cell at all.
        """
        row = decode_row(member)
        if all(_missing(row.get(name)) for name in self.columns):
            names = ", ".join(self.columns)
            raise BadSample(f"has no value in any of the columns {names}; leave the whole modality out instead")
        numbers = [_number(n, c, row.get(n)) for n, c in self.columns.items() if isinstance(c, Numbers)]
        categories = [_category(n, c, row.get(n)) for n, c in self.columns.items() if isinstance(c, Categories)]
        return {
            "numbers": torch.tensor(numbers, dtype=torch.float32),
            "categories": torch.tensor(categories, dtype=torch.long),
        }

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """Stack."""
        return {
            name: torch.stack([example[name] for example in examples]) for name in ("numbers", "categories")
        }


def decode_row(member: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadSample: anything else.
    """
    if len(member) > MAX_BYTES:
        raise BadSample(f"a row of {len(member)} bytes is over the limit of {MAX_BYTES}")
    try:
        row = json.loads(member)
    except (ValueError, RecursionError) as error:
        raise BadSample(f"is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise BadSample(f"must be a JSON object of columns, not {type(row).__name__}")
    return row


def filled(member: bytes, columns: Columns) -> dict[str, Any]:
    """The cells of a row that are read and not missing.

    Raises:
        BadSample: see `decode_row`.
    """
    row = decode_row(member)
    return {name: row[name] for name in columns if not _missing(row.get(name))}


def encode_row(value: Any) -> bytes:
    """A mapping of column names to numbers, texts or None as JSON bytes.

    Raises:
        BadSample: another type, or a value that JSON cannot hold.
    """
    if not isinstance(value, Mapping):
        raise BadSample(f"a row must be a mapping of columns, not {type(value).__name__}")
    try:
        return json.dumps(dict(value), ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise BadSample(f"a row may hold numbers, texts and None: {error}") from None


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(name: str, column: Numbers, value: Any) -> float:
    if _missing(value):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadSample(f"column {name!r} must be a number or null, not {value!r}")
    try:
        scaled = (float(value) - column.mean) / column.std
    except OverflowError:  # JSON integers have no limit
        scaled = math.inf
    if not abs(scaled) < 1e30:
        raise BadSample(f"column {name!r}: {str(value)[:40]} is too large")
    return scaled


def _category(name: str, column: Categories, value: Any) -> int:
    if _missing(value):
        return MISSING
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise BadSample(f"column {name!r} must be a text, a whole number or null, not {value!r}")
    try:
        return KNOWN + column.values.index(str(value))
    except ValueError:
        return UNKNOWN
