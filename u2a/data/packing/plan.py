"""The first reading of a source to pack: faults found, rows counted, all that decides the result hashed."""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from u2a.common.values import nfc, told_apart
from u2a.data.packing.sources import Row, RowSource
from u2a.data.shards.label_rule import LabelRule, Numbers
from u2a.errors import U2AError
from u2a.media.recode import Recode
from u2a.recipe.task import TaskSection

SHARD_SIZE = 1000
MAX_PROBLEMS = 20
#: Reading ends after so many faults.
MAX_READ = 10_000
#: Examples of one kind of fault.
SHOWN = 3
_LINE = re.compile(r"line (\d+): ")
#: What differs between faults of one kind: values in quotes, numbers, paths.
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|\d+|(?<=: )\S+(?=: )")
#: Changes when the same files would give other bytes.
FORMAT = 3


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
        numbers: what numbers as labels are, where that is ambiguous.
        part: (2, 4) packs the second of four parts (see `u2a.data.packing.parts`); None: everything.
    """

    shard_size: int = SHARD_SIZE
    workers: int | None = 1
    check: bool = False
    on_error: Literal["fail", "skip"] = "fail"
    recode: Recode = field(default_factory=Recode)
    keep_incomplete: bool = False
    numbers: Numbers | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True)
class Plan:
    """A source that was read as a whole.

    Attributes:
        splits: rows by split.
        digest: of all that decides the result.
        rule: what the labels mean.
    """

    splits: dict[str, int]
    digest: str
    rule: LabelRule


def plan_rows(source: RowSource, task: TaskSection, options: PackOptions) -> Plan:
    """Read a whole source.

    Raises:
        U2AError: every kind of fault found (at most 20 lines), one a line.
    """
    splits: dict[str, int] = defaultdict(int)
    problems: list[str] = []
    keys, rule = KeyCheck(), LabelRule(task.classes, options.numbers)
    settings = {"format": FORMAT, "task": task.kind, "modalities": source.extensions, **asdict(options)}
    for name in ("workers", "on_error", "part"):  # none changes a shard that gets finished
        del settings[name]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for row in source.rows(problems):
        problems += [f"line {row.line}: {fault}" for fault in _label_faults(row, task, rule)]
        keys.add(row.key)
        splits[row.split] += 1
        digest.update(_identity(row))
        if len(problems) > MAX_READ:
            break
    problems += keys.faults(source)
    try:
        rule.decide()
    except ValueError as error:
        problems.append(str(error))
    raise_problems(source.path, problems)
    if not splits:
        raise U2AError(f"{source.path}: holds no samples")
    digest.update(str(rule.decided).encode())
    return Plan(dict(splits), digest.hexdigest(), rule)


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
        yield _resolved(source.path, row, plan.rule)
    raise_problems(source.path, problems)
    if found != (planned := plan.splits[split]):
        raise U2AError(
            f"{source.path}: split {split!r} had {planned} samples when it was read first and {found} now; "
            "it changed while it was being packed; run it again"
        )


def _resolved(path: Path, row: Row, rule: LabelRule) -> Row:
    try:
        return row if row.labels is None else replace(row, labels=rule.resolve(row.labels))
    except ValueError as error:
        raise U2AError(f"{path}: line {row.line}: {error}") from None


def _identity(row: Row) -> bytes:
    cells = {}
    for modality, cell in row.cells.items():
        if isinstance(cell.content, bytes):
            cells[modality] = hashlib.sha256(cell.content).hexdigest()
        else:
            stat = cell.content.stat()
            cells[modality] = f"{cell.content}\0{stat.st_size}\0{stat.st_mtime_ns}"
    group = [] if row.group is None else [row.group]
    return json.dumps([row.key, row.split, row.labels, cells, *group]).encode() + b"\n"


def _label_faults(row: Row, task: TaskSection, rule: LabelRule) -> Iterator[str]:
    if row.labels is None:
        return
    try:
        count = rule.see(row.labels)
    except ValueError as error:
        yield str(error)
        return
    if task.kind == "single_label" and count != 1:
        yield f"has {count} labels, but task.kind = single_label wants one"


class KeyCheck:
    """Finds keys that are there twice, in 8 bytes a key."""

    def __init__(self) -> None:
        self._hashes: array[int] = array("Q")

    def add(self, key: str) -> None:
        """Take note of a key; keys are compared in NFC."""
        digest = hashlib.blake2b(nfc(key).encode(), digest_size=8).digest()
        self._hashes.append(int.from_bytes(digest, "little"))

    def faults(self, source: RowSource) -> list[str]:
        """Every row whose key is on an earlier row; reads the source again if there is any."""
        hashes = np.sort(np.frombuffer(self._hashes, np.uint64))
        if not len(twice := set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())):
            return []
        seen: dict[str, Row] = {}
        found = []
        for row in source.rows([]):
            key = nfc(row.key)
            if int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") not in twice:
                continue
            first = seen.setdefault(key, row)
            if first is not row:
                found.append(f"line {row.line}: {_same_key(first, row)}")
            if len(found) > MAX_READ:
                break
        return found


def _same_key(first: Row, row: Row) -> str:
    there = "" if first.split == row.split else f" (split {first.split!r}; here {row.split!r})"
    if first.key == row.key:
        return f"key {row.key!r} is already on line {first.line}{there}"
    one, other = told_apart(row.key, first.key)
    return f"key {one} looks like {other} on line {first.line}{there}; give one of them another key"


def raise_problems(path: Path, problems: Collection[str]) -> None:
    """Tell what is wrong, a line each, in the order of the file; many of one kind are counted.

    Raises:
        U2AError: if there is anything.
    """
    if not problems:
        return
    kinds: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for problem in problems:
        match = _LINE.match(problem)
        text = problem[match.end() :] if match else problem
        kinds[_VALUE.sub("", text)].append((int(match[1]) if match else 0, problem))
    shown = []
    for found in kinds.values():
        found.sort()
        texts = {problem.partition(": ")[2]: (line, problem) for line, problem in reversed(found)}
        first = sorted(texts.values())[:SHOWN]
        shown += [(line, problem) for line, problem in first]
        rest = [str(line) for line, _ in found if line not in {line for line, _ in first}]
        if rest:
            lines = ", ".join(rest[:6]) + (" ..." if len(rest) > 6 else "")
            line, problem = shown.pop()
            shown.append((line, f"{problem} (and {len(rest)} more lines like this: {lines})"))
    shown.sort()
    over = len(problems) > MAX_READ or len(shown) > MAX_PROBLEMS
    more = [f"and more; the first {MAX_PROBLEMS} are shown"] if over else []
    raise U2AError("\n".join([f"{path}: {problem}" for _, problem in shown[:MAX_PROBLEMS]] + more))
