"""The first reading of a source to pack: faults found, rows counted, all that decides the result hashed."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from u2a.data.packing.manifest import Row, RowSource
from u2a.data.shards.samples import nearest
from u2a.errors import U2AError
from u2a.media.recode import Recode
from u2a.recipe.sections import TaskSection

SHARD_SIZE = 1000
MAX_PROBLEMS = 20
#: Changes when the same files would give other bytes.
FORMAT = 1


@dataclass(frozen=True)
class PackOptions:
    """How to pack.

    Attributes:
        shard_size: samples of a shard.
        workers: processes that decode; None = one for each core. The result does not depend on it.
        check: decode every file with its modality's own preprocessor.
        on_error: what an undecodable file does: ``fail`` ends the packing, ``skip`` leaves its sample out.
        recode: what to re-encode.
        keep_incomplete: a file that holds nothing of a modality (a clip without sound) makes that modality
            missing instead of the sample unusable.
    """

    shard_size: int = SHARD_SIZE
    workers: int | None = 1
    check: bool = False
    on_error: Literal["fail", "skip"] = "fail"
    recode: Recode = field(default_factory=Recode)
    keep_incomplete: bool = False


@dataclass(frozen=True)
class Plan:
    """A source that was read as a whole: rows by split, and a digest of all that decides the result."""

    splits: dict[str, int]
    digest: str


def plan_rows(source: RowSource, task: TaskSection, options: PackOptions) -> Plan:
    """Read a whole source.

    Raises:
        U2AError: every fault found (at most 20), one a line.
    """
    splits: dict[str, int] = defaultdict(int)
    problems: list[str] = []
    seen: dict[str, tuple[int, str]] = {}
    settings = {"format": FORMAT, "task": task.kind, "modalities": source.extensions, **asdict(options)}
    del settings["workers"], settings["on_error"]  # neither changes a shard that gets finished
    digest = hashlib.sha256(json.dumps(settings).encode())
    for row in source.rows(problems):
        problems += [f"line {row.line}: {fault}" for fault in _row_faults(row, task, seen)]
        seen.setdefault(row.key, (row.line, row.split))
        splits[row.split] += 1
        digest.update(_identity(row))
        if len(problems) > MAX_PROBLEMS:
            break
    raise_problems(source.path, problems)
    if not splits:
        raise U2AError(f"{source.path}: holds no samples")
    return Plan(dict(splits), digest.hexdigest())


def planned_rows(source: RowSource, plan: Plan, split: str) -> Iterator[Row]:
    """The rows of a split again, for packing: they must be those that were planned.

    Rows are known by their place, so one that cannot be used any more would shift all that follow.

    Raises:
        U2AError: a file has gone or the source has changed since; nothing after that row is given.
    """
    problems: list[str] = []
    found = 0
    for row in source.rows(problems, split):
        raise_problems(source.path, problems)
        found += 1
        yield row
    raise_problems(source.path, problems)
    if found != (planned := plan.splits[split]):
        raise U2AError(
            f"{source.path}: split {split!r} had {planned} samples when it was read first and {found} now; "
            "it changed while it was being packed; run it again"
        )


def _identity(row: Row) -> bytes:
    cells = {}
    for modality, cell in row.cells.items():
        if isinstance(cell.content, bytes):
            cells[modality] = hashlib.sha256(cell.content).hexdigest()
        else:
            stat = cell.content.stat()
            cells[modality] = f"{cell.content}\0{stat.st_size}\0{stat.st_mtime_ns}"
    return json.dumps([row.key, row.split, row.labels, cells]).encode() + b"\n"


def _row_faults(row: Row, task: TaskSection, seen: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    if row.key in seen:
        line, split = seen[row.key]
        where = f"line {line}" + ("" if split == row.split else f" (split {split!r}; here {row.split!r})")
        yield f"key {row.key!r} is already on {where}"
    if row.labels is None:
        return
    for label in row.labels:
        if label not in task.classes:
            yield f"label {label!r} is not one of the recipe's classes{nearest(label, task.classes)}"
    if task.kind == "single_label" and len(row.labels) != 1:
        yield f"has {len(row.labels)} labels, but task.kind = single_label wants one"


def raise_problems(path: Path, problems: Collection[str]) -> None:
    if problems:
        more = [f"and more; the first {MAX_PROBLEMS} are shown"] if len(problems) > MAX_PROBLEMS else []
        shown = [f"{path}: {problem}" for problem in list(problems)[:MAX_PROBLEMS]]
        raise U2AError("\n".join(shown + more))
