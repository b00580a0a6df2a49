"""The manifest that ``u2a init`` writes: JSON lines, or Parquet where the source holds files as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from u2a.common.files import replacing
from u2a.errors import U2AError
from u2a.starting.samples import Sample, Samples

_ROWS = 64


def write_manifest(stem: Path, samples: Samples, splits: Sequence[str], *, many: bool) -> Path:
    """Write it beside the recipe; returns the file."""
    rows = (_row(sample, split, many) for sample, split in zip(samples, splits, strict=True))
    embedded = any(kind == "bytes" for sample in samples for kind, _ in sample.cells.values())
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}.manifest.{'parquet' if embedded else 'jsonl'}")
    with replacing(path) as stream:
        if embedded:
            _write_parquet(rows, [content.name for content in samples.contents], stream)
        else:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return path


def _row(sample: Sample, split: str, many: bool) -> dict[str, Any]:
    labels = list(sample.labels or ())
    row: dict[str, Any] = {"key": sample.key, "split": split}
    row |= {"labels": labels} if many else {"label": labels[0] if len(labels) == 1 else labels}
    if sample.group is not None:
        row["group"] = sample.group
    for name, (kind, value) in sample.cells.items():
        row[f"{name}_path" if kind == "path" else name] = value
    return row


def _write_parquet(rows: Iterator[dict[str, Any]], modalities: Sequence[str], stream: Any) -> None:
    import pyarrow.parquet as pq

    writer: Any = None
    schema, held = None, []
    for row in rows:
        held.append(row)
        if schema is None:
            schema = _schema(row, modalities)
            writer = pq.ParquetWriter(stream, schema)
        if len(held) == _ROWS:
            writer.write_table(_table(held, schema))
            held = []
    if writer is None:
        raise U2AError("there is nothing to write")
    if held:
        writer.write_table(_table(held, schema))
    writer.close()


def _schema(row: dict[str, Any], modalities: Sequence[str]) -> Any:
    import pyarrow as pa

    label = pa.list_(pa.string()) if "labels" in row else pa.string()
    fields = [("key", pa.string()), ("split", pa.string()), ("labels" if "labels" in row else "label", label)]
    fields.append(("group", pa.string()))
    for name in modalities:
        fields += [(name, pa.large_binary()), (f"{name}_path", pa.string())]
    return pa.schema(fields)


def _table(rows: Sequence[dict[str, Any]], schema: Any) -> Any:
    import pyarrow as pa

    plain = [
        {
            n: v.encode() if isinstance(v, str) and schema.field(n).type == pa.large_binary() else v
            for n, v in r.items()
        }
        for r in rows
    ]
    return pa.Table.from_pylist(plain, schema=schema)
