"""Preparing a public data set: read its layout, pack it, and set its counts beside the paper's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from u2a.common.files import write_json, write_text
from u2a.data.packing.pack import Progress, pack_rows, read_extensions
from u2a.data.packing.plan import PackOptions, Plan, plan_rows
from u2a.data.packing.staging import check_target
from u2a.data.packing.summary import SplitSummary, Summary
from u2a.data.shards.dataset import read_dataset
from u2a.data.shards.index import index_path
from u2a.errors import U2AError
from u2a.recipe.sections import Recipe
from u2a_prepare.common import Report, Rows, usable_rows
from u2a_prepare.sets import DATA_SETS, Choice, DataSet


class SplitCount(BaseModel):
    """One split in ``summary.json``."""

    model_config = ConfigDict(extra="forbid")

    samples: int
    paper: int | None
    difference: int | None
    presence: dict[str, int]
    skipped: int


class Prepared(BaseModel):
    """``summary.json``: what was made, beside what the paper reports."""

    model_config = ConfigDict(extra="forbid")

    data_set: str
    plan: str
    split_by: str
    seed: int
    splits: dict[str, SplitCount]
    problems: dict[str, int]


@dataclass(frozen=True)
class Result:
    """What `prepare` found or made; `made` is False if everything was there already."""

    summary: Prepared
    made: bool


def prepare(
    name: str,
    recipe: Recipe,
    source: str | Path,
    out: str | Path,
    choice: Choice = Choice(),  # noqa: B008  # frozen
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    **how: Any,
) -> Result:
    """Make shards of a public data set; a second call with the same files changes nothing.

    Args:
        name: one of `u2a_prepare.sets.DATA_SETS`.
        recipe: its shipped recipe, perhaps changed: names modalities and classes.
        source: the folder that holds the data set as its authors publish it (docs/datasets.md).
        out: the folder to make: shards, their indexes, dataset.json, classes.txt, summary.json, problems.jsonl.
        choice: how to split, where that is left to choose.
        overwrite: replace the data set that `out` holds, once the new one is complete.
        progress: called as samples are written.
        how: fields of `packing.plan.PackOptions`; here files are checked, and clips without sound kept.

    Raises:
        U2AError: the layout is not as expected, an undecodable file, or `out` cannot be used.
    """
    data_set = _data_set(name, recipe, choice)
    options = PackOptions(**{"check": True, "keep_incomplete": True, **how})
    folder, target = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    if not folder.is_dir():
        raise U2AError(f"{source}: no such folder")
    report = Report()
    extensions = read_extensions(recipe)
    found = data_set.read(folder, report, choice, recipe.task.classes)
    rows = Rows(folder, extensions, usable_rows(folder, found, extensions, report))
    plan = plan_rows(rows, recipe.task, options)
    if (before := _complete(target, plan)) is not None:
        return Result(before, made=False)
    check_target(target, overwrite)
    done: list[Prepared] = []

    def finish(folder: Path, summary: Summary) -> None:
        done.append(_summarise(data_set, choice, plan, report, summary))
        write_json(folder / "summary.json", done[0].model_dump())
        write_text(folder / "problems.jsonl", report.lines())
        write_text(folder / "classes.txt", "".join(f"{name}\n" for name in recipe.task.classes))

    pack_rows(recipe, rows, plan, target, options, overwrite=overwrite, progress=progress, finish=finish)
    return Result(done[0], made=True)


def _data_set(name: str, recipe: Recipe, choice: Choice) -> DataSet:
    if name not in DATA_SETS:
        raise U2AError(f"no data set {name!r}; there are: {', '.join(DATA_SETS)}")
    data_set = DATA_SETS[name]
    if strangers := [m for m in recipe.modalities if m not in data_set.columns]:
        raise U2AError(f"{name} has no modality {strangers[0]!r}; it has {', '.join(data_set.columns)}")
    if choice.split_by not in data_set.split_by:
        raise U2AError(f"{name} cannot be split by {choice.split_by}; it has an official split")
    if choice.seed and not data_set.drawn:
        raise U2AError(f"{name} has an official split: --seed would change nothing")
    return data_set


def _complete(target: Path, plan: Plan) -> Prepared | None:
    """What `target` holds if it was made from the same plan and its shards are all there."""
    try:
        before = Prepared.model_validate_json((target / "summary.json").read_bytes())
        entries = [entry for split in read_dataset(str(target)).splits.values() for entry in split]
    except (OSError, ValidationError, U2AError):
        return None
    shards = [(target / entry.name, entry.bytes) for entry in entries]
    whole = all(p.is_file() and p.stat().st_size == size and index_path(p).is_file() for p, size in shards)
    return before if whole and before.plan == plan.digest else None


def _summarise(data_set: DataSet, choice: Choice, plan: Plan, report: Report, summary: Summary) -> Prepared:
    for name, split in summary.items():
        for key, (modality, reason) in split.skipped.items():
            report.add("undecodable", key, f"{modality}: {reason}; left out", name)
        for key, reasons in split.absent.items():
            for modality, reason in reasons.items():
                report.add(f"no {modality}", key, f"{reason}; kept without it", name)
    names = [*summary, *(name for name in data_set.paper if name not in summary)]
    return Prepared(
        data_set=data_set.name,
        plan=plan.digest,
        split_by=choice.split_by,
        seed=choice.seed,
        splits={name: _count(summary.get(name, SplitSummary()), data_set.paper.get(name)) for name in names},
        problems=report.counts(),
    )


def _count(split: SplitSummary, paper: int | None) -> SplitCount:
    patterns = sorted(split.presence.items(), key=lambda item: (-item[1], item[0]))
    return SplitCount(
        samples=split.samples,
        paper=paper,
        difference=None if paper is None else split.samples - paper,
        presence={" + ".join(pattern): count for pattern, count in patterns},
        skipped=len(split.skipped),
    )


def summary_lines(summary: Prepared) -> Sequence[str]:
    """The summary as a table for a person."""
    lines = [f"{'split':<8}{'samples':>10}{'paper':>10}{'difference':>12}"]
    for name, split in summary.splits.items():
        paper = "-" if split.paper is None else f"{split.paper:,}"
        difference = "-" if split.difference is None else f"{split.difference:+,}" if split.difference else "0"
        lines.append(f"{name:<8}{split.samples:>10,}{paper:>10}{difference:>12}")
        lines += [f"  {count:>16,}  {pattern}" for pattern, count in split.presence.items()]
    lines += [f"{count:>8,}  {kind}" for kind, count in summary.problems.items()]
    return lines
