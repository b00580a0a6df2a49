"""Files as columns, one for each extension (``*.jpg``): those of class folders, and those that ids name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from u2a.common.values import looks_like_file
from u2a.starting.columns import KEY_NAMES, Column, empty, look
from u2a.starting.echoes import files_of, same_files
from u2a.starting.files import Files
from u2a.starting.folders import split_in, split_name
from u2a.starting.layout import FILES
from u2a.starting.source import Rows, Source


def with_files(source: Source, files: Files) -> tuple[Source, dict[str, Column], int, list[str]]:
    """The source with its files as columns; its columns, the number of rows, what the person should know."""
    source = _of_folders(source)
    columns, total = look(source.rows())
    ids = _ids(list(columns.values()), files)
    if ids is None:
        return source, columns, total, []
    source = _of_ids(source, ids, files)
    columns, total = look(source.rows())
    found = [c for name, c in columns.items() if name.startswith("*.")] or [columns[ids.name]]
    counts = ", ".join(f"{c.name} {c.filled}" for c in found)
    return source, columns, total, [f"files are called by column {ids.name!r}: {counts} of {total} samples"]


def _ids(columns: Sequence[Column], files: Files) -> Column | None:
    """The column of ids that files are called by, unless another one names these files."""
    if any(column.name.startswith("*.") for column in columns):
        return None
    called = [column for column in columns if _names_files(column, files)]
    others = [column for column in columns if column not in called]
    found = files_of(columns, files) if called else {}
    alone = (one for one in called if not any(same_files(one, other, found) for other in others))
    return next(alone, None)


def _of_folders(source: Source) -> Source:
    def read(problems: list[str]) -> Rows:
        for place, fields in source.read(problems):
            if isinstance(found := fields.get(FILES), dict):
                fields = _with({n: v for n, v in fields.items() if n != FILES}, found)
            yield place, fields

    return replace(source, read=read)


def _of_ids(source: Source, ids: Column, files: Files) -> Source:
    """A file in place of each id, or beside the ids where they are keys or name several files each."""
    beside = ids.name.casefold() in KEY_NAMES or any(len(files.named(str(v))) > 1 for v in ids.examples)
    said = split_in(source.path.stem)

    def read(problems: list[str]) -> Rows:
        for place, fields in source.read(problems):
            value, split = fields.get(ids.name), split_name(fields.get("split")) or said
            named = {} if empty(value) else files.named(str(value), split)
            if several := next((paths for paths in named.values() if len(paths) > 1), None):
                problems.append(
                    f"{place}: column {ids.name!r}: {str(value)[:60]!r} names {len(several)} files: "
                    f"{', '.join(several[:3])}; say with --root DIR which folder is meant"
                )
                continue
            found = {extension: paths[0] for extension, paths in named.items()}
            yield place, _with(fields, found) if beside else {**fields, ids.name: _only(found)}

    return replace(source, read=read)


def _only(found: Mapping[str, str]) -> str | None:
    return next(iter(found.values())) if len(found) == 1 else None


def _with(fields: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    return {**fields, **{f"*.{extension}": path for extension, path in found.items()}}


def _names_files(column: Column, files: Files) -> bool:
    """Whether most cells are names of files without extension; names of classes and splits are no such."""
    few = column.repeats and len(column.counts or ()) <= max(20, column.filled // 20)
    if not column.all_are(str, int, float) or column.amounts or few:
        return False
    bare = [str(value) for value in column.examples if column.numeric or not looks_like_file(str(value))]
    return 2 * sum(bool(files.named(value)) for value in bare) > len(column.examples)
