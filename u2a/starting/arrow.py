"""Folders of Hugging Face ``datasets``: what ``save_to_disk`` wrote, the cache's files, ``data/*.parquet``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from u2a.data.packing.columns import column_name
from u2a.data.packing.parquet import class_name, class_names, read_parquet
from u2a.errors import U2AError, one_line
from u2a.starting.folders import split_name
from u2a.starting.split_names import split_names

_PART = re.compile(r"-\d{5}-of-\d{5}$")
_OF = re.compile(r"-(\d{5})-of-(\d{5})")


def is_datasets_folder(path: Path) -> bool:
    """Whether a folder holds Arrow files, or Parquet files that are named by split."""
    return bool(_files(path))


def read_datasets(path: Path, problems: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every row, with its split where file or folder names tell it.

    Raises:
        U2AError: a file cannot be read, or pyarrow is not installed.
    """
    files = _files(path)
    named = {split for split in files.values() if split}
    for file, split in files.items():
        read = _read_arrow(file) if file.suffix == ".arrow" else read_parquet((), _any, file, problems)
        for number, fields in read:
            extra = {"split": split} if split and "split" not in fields and len(named) > 1 else {}
            yield f"{file.relative_to(path)}, row {number}", {**fields, **extra}


def _any(name: str) -> bool:
    return True


def datasets_notes(path: Path) -> dict[str, str]:
    """What the person should know of the files, by subject: those that are missing, and those not read.

    Raises:
        U2AError: the folder holds several configurations of one data set.
    """
    files = _files(path)
    _one_configuration(path, files)
    notes: dict[str, str] = {}
    parts: dict[tuple[Path, str, int], set[int]] = {}
    for file in files:
        if part := _OF.search(file.name):
            whole = file.parent, file.name[: part.start()], int(part[2])
            parts.setdefault(whole, set()).add(int(part[1]))
    for (_, name, total), there in parts.items():
        if lost := sorted(set(range(total)) - there):
            lacking = f"{name}-{lost[0]:05d}-of-{total:05d}"
            notes[name] = f"of {total} files of {name} {len(lost)} are not there ({lacking})"
    tables = {file for folder in {file.parent for file in files} for file in folder.glob("*.parquet")}
    if others := sorted(str(file.relative_to(path)) for file in tables - files.keys()):
        notes["others"] = f"{len(others)} files name no split and are left out ({others[0]})"
    return notes


def _one_configuration(path: Path, files: Mapping[Path, str | None]) -> None:
    """Refuse folders beside each other that both have one split: other samples, or the same again."""
    if (path / "dataset_dict.json").is_file():
        return  # its folders are the splits of one
    held: dict[str | None, set[Path]] = {}
    for file, split in files.items():
        held.setdefault(split, set()).add(file.parent)
    for split, folders in held.items():
        if len(folders) > 1:
            names = " and ".join(sorted(folder.name for folder in folders))
            what = f"a split {split}" if split else "rows"
            raise U2AError(
                f"{path}: holds several data sets ({names}), each with {what}; name one of them: "
                f"u2a init {max(folders)}"
            )


def _files(path: Path) -> dict[Path, str | None]:
    """Files of rows in order, with their splits."""
    found: dict[Path, str | None] = {}
    inner = sorted(p for p in path.iterdir() if p.is_dir())
    splits = split_names([p.name for p in inner])
    for folder in (path, path / "data", *inner):
        if not folder.is_dir():
            continue
        listed = _listed(folder)
        for file in sorted([*folder.glob("*.arrow"), *folder.glob("*.parquet")]):
            if file.name.startswith("cache-") or (listed and file.name not in listed):
                continue
            split = splits.get(folder.name) or split_name(folder.name) or _split_of(file)
            if file.suffix == ".arrow" or (split and file.stem != "metadata"):
                found[file] = split
    return found


def _listed(folder: Path) -> set[str]:
    """The files that ``save_to_disk`` says belong to a data set; others are leftovers of its cache."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return {str(one["filename"]) for one in state["_data_files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _split_of(file: Path) -> str | None:
    """``train`` of ``beans-train-00000-of-00002.arrow``."""
    words = re.split(r"[^A-Za-z]+", _PART.sub("", file.stem))
    return next((split for word in reversed(words) if (split := split_name(word))), None)


def _read_arrow(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        import pyarrow as pa
    except ModuleNotFoundError:
        raise U2AError(f'{path}: reading it needs pyarrow: pip install "u2a[parquet]"') from None
    try:
        with pa.memory_map(str(path)) as stream:
            try:
                opened = pa.ipc.open_stream(stream)
            except pa.ArrowInvalid:
                opened = pa.ipc.open_file(stream)
                opened = (opened.get_batch(i) for i in range(opened.num_record_batches))
            number = 0
            for batch in opened:
                classes = class_names(batch.schema.metadata or {})
                for start in range(0, batch.num_rows, 64):
                    for fields in batch.slice(start, 64).to_pylist():
                        number += 1
                        yield number, {column_name(n): _named(v, classes.get(n)) for n, v in fields.items()}
    except pa.ArrowException as error:
        raise U2AError(f"{path}: cannot be read as Arrow: {one_line(error, 200)}") from None


def _named(value: Any, names: list[str] | None) -> Any:
    return value if names is None else class_name(value, names)
