"""The rows of a table, one dict each: JSON lines or an array, CSV with any of the usual separators, Parquet."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from u2a.common.values import once, short
from u2a.data.packing.columns import column_name
from u2a.data.packing.parquet import read_parquet
from u2a.data.packing.separated import read_separated
from u2a.data.shards.names import SPLIT_OF
from u2a.errors import U2AError

_OTHERS = {
    b"PK\x03\x04": "a ZIP archive, perhaps an Excel sheet, whatever its name says; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel sheet, whatever its name says; save the sheet as CSV",
    b"\x1f\x8b": "compressed, whatever its name says; unpack it with: gunzip",
    b"PAR1": "a Parquet file, whatever its name says; name it .parquet",
}

_HINTS = {
    (".xls", ".xlsx", ".ods"): "save the sheet as CSV",
    (".zip", ".gz", ".bz2", ".xz", ".tar", ".tgz", ".7z", ".rar"): "unpack it first",
}

#: Reads a file row by row: the number of the line (array and Parquet: of the row), and its fields by column. A
#: row that is none is appended to the list of problems instead.
Reader = Callable[[Path, list[str]], Iterator[tuple[int, Mapping[str, Any]]]]


def reader(path: Path, required: Sequence[str], wanted: Callable[[str], bool] = lambda name: True) -> Reader:
    """The reader for a file, by its extension; CSV and Parquet must have the required columns.

    Args:
        path: the file.
        required: columns that must be there.
        wanted: which columns of a Parquet file are decoded; of others a row only knows the name.

    Raises:
        U2AError: there is none.
    """
    table = partial(_read_csv, required)
    readers: dict[str, Reader] = {
        **dict.fromkeys((".jsonl", ".ndjson", ".json"), _read_json),
        **dict.fromkeys((".csv", ".tsv", ".tab"), table),
        **dict.fromkeys((".parquet", ".pq"), partial(read_parquet, required, wanted)),
    }
    if path.suffix.lower() not in readers:
        hint = next((f"; {what}" for ends, what in _HINTS.items() if path.suffix.lower() in ends), "")
        raise U2AError(f"{path}: manifests are .jsonl, .json, .csv, .tsv or .parquet files{hint}")
    return readers[path.suffix.lower()]


def _encoding(path: Path) -> str:
    with open(path, "rb") as stream:
        start = stream.read(8)
    if not start:
        raise U2AError(f"{path}: is empty")
    for sign, what in _OTHERS.items():
        if start.startswith(sign):
            raise U2AError(f"{path}: is {what}")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in start:
        raise U2AError(f"{path}: is not UTF-8 text, perhaps UTF-16: iconv -f UTF-16LE -t UTF-8 FILE > NEW")
    return "utf-8-sig"


def not_utf8(path: Path) -> U2AError:
    """The line of a file that is not UTF-8, and what to do."""
    with open(path, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                around = line[max(0, error.start - 12) : error.start + 12].decode("latin-1").strip()
                return U2AError(
                    f"{path}: line {number}: is not UTF-8 text; in Latin-1 it would say {short(around)}; "
                    f"if that is right: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > NEW"
                )
    return U2AError(f"{path}: is not UTF-8 text")


def _read_json(path: Path, problems: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open(path, encoding=_encoding(path)) as stream:
        first = next((character for line in stream for character in line.strip()[:1]), "")
        stream.seek(0)
        if first == "[":
            yield from _read_array(path, stream.read(), problems)
            return
        if path.suffix.lower() == ".json" and (whole := _whole(stream.read())) is not None:
            yield from _numbered(_rows_in(path, whole), problems)
            return
        stream.seek(0)
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line, object_pairs_hook=once)
            except (ValueError, RecursionError) as error:
                problems.append(f"line {number}: not JSON: {error}")
                continue
            _check_rows(path, fields)
            if isinstance(fields, dict):
                yield number, _named(fields)
            else:
                problems.append(f"line {number}: not a JSON object")


def _check_rows(path: Path, fields: Any) -> None:
    if _is_of_columns(fields):
        raise U2AError(
            f"{path}: is one object with the whole table, as pandas' to_json writes it; write it with "
            "to_json(FILE, orient='records', lines=True)"
        )


def _whole(text: str) -> dict[str, Any] | None:
    """The one object that a file holds; None if it holds several, or none."""
    try:
        found = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _rows_in(path: Path, whole: dict[str, Any]) -> Sequence[Any]:
    """The rows that one object holds: by columns, by files, as its only list or a list a split; else itself.

    Raises:
        U2AError: it holds several lists, which say different things of the same samples.
    """
    if len(whole) > 1 and all(guess_type(name)[0] for name in whole):
        return _by_file(whole)
    if _is_of_lists(whole):
        return [dict(zip(whole, cells, strict=True)) for cells in zip(*whole.values(), strict=True)]
    lists = {
        n: v for n, v in whole.items() if isinstance(v, list) and v and all(isinstance(o, dict) for o in v)
    }
    if not lists:
        _check_rows(path, whole)
        return [whole]
    if all(name.casefold() in SPLIT_OF for name in lists):
        return [{"split": name, **row} for name, rows in lists.items() for row in rows]
    if len(lists) > 1:
        raise U2AError(
            f"{path}: holds several lists ({', '.join(map(short, list(lists)[:5]))}), as COCO and VQA write "
            "them; join them to a table with one row a sample"
        )
    return next(iter(lists.values()))


def _is_of_lists(whole: dict[str, Any]) -> bool:
    """A list a column, as pandas' ``to_dict("list")``: no splits, no tables, nor the vectors of one sample."""
    lists = list(whole.values())
    if len(lists) < 2 or not all(isinstance(one, list) and len(one) > 1 for one in lists):
        return False
    if len(set(map(len, lists))) > 1 or all(name.casefold() in SPLIT_OF for name in whole):
        return False
    kinds = [set(map(type, one)) for one in lists]
    return not all(kind == {dict} for kind in kinds) and not all(kind <= {int, float} for kind in kinds)


def _by_file(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """What is said of each file: its fields, or its label."""
    said = {name: value if isinstance(value, dict) else {"label": value} for name, value in whole.items()}
    taken = {field for fields in said.values() for field in fields}
    column = next(name for name in ("file", "file_name", "path", "(file)") if name not in taken)
    return [{column: name, **fields} for name, fields in said.items()]


def _is_of_columns(fields: Any) -> bool:
    """pandas' orients: columns and index; split; table."""
    if not isinstance(fields, dict) or len(fields) < 2:
        return False
    named = {"columns", "data"} <= fields.keys() or {"schema", "data"} <= fields.keys()
    keys = {frozenset(value) if isinstance(value, dict) else None for value in fields.values()}
    return (len(keys) == 1 and None not in keys) or (named and isinstance(fields["data"], list))


def _read_array(path: Path, text: str, problems: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        rows = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise U2AError(f"{path}: is neither JSON lines nor a JSON array: {error}") from None
    yield from _numbered(rows, problems)


def _numbered(rows: Sequence[Any], problems: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, fields in enumerate(rows, 1):
        if isinstance(fields, dict):
            yield number, _named(fields)
        else:
            problems.append(f"line {number}: not a JSON object")


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    for name in fields:
        if name != column_name(name):
            return {column_name(name): value for name, value in fields.items()}
    return fields


def _read_csv(
    required: Sequence[str], path: Path, problems: list[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return read_separated(required, path, _encoding(path), problems)
