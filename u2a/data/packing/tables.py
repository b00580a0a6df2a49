"""The rows of a table, one dict each: JSON lines, CSV and Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from u2a.errors import U2AError

#: csv refuses cells over 128 KiB by default; a long text may well be one.
MAX_CELL = 1 << 26
_BATCH = 1024

#: Reads a file row by row: the number of the line (Parquet: of the row), and its fields by column. A row that
#: is none is appended to the list of problems instead.
Reader = Callable[[Path, list[str]], Iterator[tuple[int, Mapping[str, Any]]]]


def reader(path: Path, required: Sequence[str]) -> Reader:
    """The reader for a file, by its extension; CSV and Parquet must have the required columns.

    Raises:
        U2AError: there is none.
    """
    readers: dict[str, Reader] = {
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".csv": partial(_read_csv, required),
        ".parquet": partial(_read_parquet, required),
    }
    if path.suffix.lower() not in readers:
        raise U2AError(f"{path}: manifests are .jsonl, .csv or .parquet files")
    return readers[path.suffix.lower()]


def _read_jsonl(path: Path, problems: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            try:
                fields = json.loads(text)
            except (ValueError, RecursionError) as error:
                problems.append(f"line {number}: not JSON: {error}")
                continue
            if isinstance(fields, dict):
                yield number, fields
            else:
                problems.append(f"line {number}: not a JSON object")


def _read_csv(
    required: Sequence[str], path: Path, problems: list[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(MAX_CELL)
    with open(path, encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            names = list(reader.fieldnames or ())
            _check_columns(path, names, required)
            for fields in reader:
                width = len(names) + len(fields.get(None) or ()) - sum(v is None for v in fields.values())
                if width != len(names):
                    problems.append(f"line {reader.line_num}: has {width} cells, the header has {len(names)}")
                else:
                    yield reader.line_num, fields
        except csv.Error as error:
            raise U2AError(f"{path}: line {reader.reader.line_num}: not CSV: {error}") from None


def _read_parquet(
    required: Sequence[str], path: Path, problems: list[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise U2AError(f'{path}: reading Parquet needs pyarrow: pip install "u2a[parquet]"') from None
    try:
        with pq.ParquetFile(path) as table:
            _check_columns(path, table.schema_arrow.names, required)
            number = 0
            for batch in table.iter_batches(_BATCH):
                for fields in batch.to_pylist():
                    number += 1
                    yield number, fields
    except pa.ArrowException as error:
        raise U2AError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def _check_columns(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise U2AError(f"{path}: column {twice[0]!r} is there twice")
    for name in required:
        if name not in names:
            raise U2AError(f"{path}: has no column {name!r}; its columns are {', '.join(names)}")
