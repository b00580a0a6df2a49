"""Rows of a Parquet file: only the columns that are wanted are decoded, a few megabytes at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from u2a.common.values import number_text
from u2a.data.packing.columns import check_columns, column_name
from u2a.errors import U2AError, one_line

_ROWS, _BYTES = 1024, 16 << 20
#: Stands for a value that was not decoded.
NOT_READ = "(not read)"


def read_parquet(
    required: Sequence[str], wanted: Callable[[str], bool], path: Path, problems: list[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """See `u2a.data.packing.tables.reader`. Class numbers of Hugging Face ``datasets`` become their names."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise U2AError(f'{path}: reading Parquet needs pyarrow: pip install "u2a[parquet]"') from None
    try:
        with pq.ParquetFile(path) as table:
            raw = table.schema_arrow.names
            names = {name: column_name(name) for name in raw}
            check_columns(path, list(names.values()) if len(names) == len(raw) else raw, required)
            classes = class_names(table.schema_arrow.metadata or {})
            read = [name for name in raw if wanted(names[name])]
            others = {names[name]: NOT_READ for name in raw if name not in read}
            size = (
                table.metadata.num_rows
                and sum(table.metadata.row_group(i).total_byte_size for i in range(table.num_row_groups))
                // table.metadata.num_rows
            )
            number = 0
            for batch in table.iter_batches(max(1, min(_ROWS, _BYTES // max(1, size))), columns=read):
                for fields in batch.to_pylist():
                    number += 1
                    row = {names[name]: value for name, value in fields.items()}
                    for name in classes.keys() & row.keys():
                        row[name] = class_name(row[name], classes[name])
                    yield number, {**others, **row}
    except pa.ArrowException as error:
        raise U2AError(f"{path}: cannot be read as Parquet: {one_line(error, 200)}") from None


def class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Columns whose numbers ``datasets`` gave names."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        found = {}
        for name, feature in features.items():
            feature = feature.get("feature", feature) if isinstance(feature, dict) else feature
            feature = feature[0] if isinstance(feature, list) and feature else feature
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
                found[name] = [str(one) for one in feature["names"]]
        return found
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def class_name(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [class_name(one, names) for one in value]
    number = number_text(value)
    if number == "-1":  # how datasets writes that there is no label
        return None
    return names[int(number)] if number and number.isdigit() and int(number) < len(names) else value
