"""Missing tables as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from u2a.common.files import replacing
from u2a.common.hints import nearest
from u2a.data.reading.missing import Table, TableInfo
from u2a.data.reading.split import Split
from u2a.errors import U2AError


class _FileInfo(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    modalities: tuple[str, ...]
    splits: dict[str, TableInfo]


def write_tables(path: Path, modalities: Sequence[str], tables: Mapping[str, Table]) -> None:
    """Write the tables of some splits; equal tables give equal bytes.

    Raises:
        U2AError: the file exists with other content, or cannot be written.
    """
    info = _FileInfo(modalities=tuple(modalities), splits={name: t.info for name, t in tables.items()})
    data = save(
        {f"kept.{name}": table.kept_NM for name, table in tables.items()},
        metadata={"u2a": info.model_dump_json()},
    )
    try:
        if path.exists() and path.read_bytes() != data:
            raise U2AError(f"{path}: holds another table; remove it, or name another file with --out")
        with replacing(path) as stream:
            stream.write(data)
    except OSError as error:
        raise U2AError(f"{path}: cannot be written: {error.strerror}") from None


def read_table(path: Path, split: Split) -> Table:
    """Read a split's table.

    Raises:
        U2AError: the file is missing or damaged, lacks the split, or was made for other data.
    """
    if not path.is_file():
        raise U2AError(f"{path}: no such missing table; draw one with: u2a data mask")
    try:
        stored = safe_open(path, framework="numpy")
        info = _FileInfo.model_validate_json((stored.metadata() or {})["u2a"])
        tables = {name: stored.get_tensor(f"kept.{name}") for name in info.splits if name == split.name}
    except (SafetensorError, OSError, KeyError, ValidationError) as error:
        raise U2AError(
            f"{path}: not a missing table of format 1, or damaged ({type(error).__name__})"
        ) from None
    if split.name not in tables:
        raise U2AError(f"{path}: has no table for split {split.name!r}{nearest(split.name, info.splits)}")
    _check_made_for(path, split, info)
    columns = [info.modalities.index(name) for name in split.modalities]
    return Table(info.splits[split.name], tables[split.name][:, columns])


def _check_made_for(path: Path, split: Split, info: _FileInfo) -> None:
    if set(info.modalities) != set(split.modalities):
        theirs, ours = ", ".join(info.modalities), ", ".join(split.modalities)
        raise U2AError(f"{path}: was drawn for modalities {theirs}, but the recipe has {ours}")
    made_for = info.splits[split.name].fingerprint
    if made_for != split.fingerprint:
        raise U2AError(
            f"{path}: was drawn for other data: split {split.name!r} has fingerprint {split.fingerprint[:12]}, "
            f"the table's is {made_for[:12]}; draw it again with: u2a data mask"
        )
