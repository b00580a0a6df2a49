"""Grids of trainings over recipe values and seeds: resumable, one after another, then mean and deviation."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from u2a.common.files import write_csv, write_json
from u2a.errors import RecipeError, U2AError
from u2a.evaluation.commands import sweep_run
from u2a.recipe.file import load_recipe
from u2a.runs.dedicated import finished
from u2a.runs.folder import Run
from u2a.training.start import check_same

Cell = dict[str, str]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One training of the grid: the recipe, the grid's values, a seed, and the folder."""

    recipe: str
    cell: Cell
    seed: int
    run: Run
    sets: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join([*(f"{key}={value}" for key, value in self.cell.items()), f"seed {self.seed}"])


def parse_grid(values: Sequence[str]) -> dict[str, list[str]]:
    """``["data.missing.rate=0,0.7"]`` as ``{"data.missing.rate": ["0", "0.7"]}``; commas in brackets stay.

    Raises:
        U2AError: not of that form, or a key given twice.
    """
    grid: dict[str, list[str]] = {}
    for value in values:
        key, equals, text = value.partition("=")
        options = [option.strip() for option in _split(text)]
        if not equals or not key.strip() or not all(options):
            raise U2AError(f"--grid {value}: expected KEY=VALUE,VALUE, e.g. --grid data.missing.rate=0,0.7")
        if key.strip() in grid or key.strip() == "seed":
            raise U2AError(f"--grid {value}: {key} is given twice (seeds: --seeds 0,1,2)")
        grid[key.strip()] = list(dict.fromkeys(options))
    return grid


def _split(text: str) -> list[str]:
    """Cut at commas outside brackets and quotes."""
    parts = re.findall(r"""(?:"[^"]*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^,])+|(?<=,)(?=,|$)""", text)
    return parts or [""]


def plan_jobs(
    recipe: str, grid: dict[str, list[str]], seeds: Sequence[int], sets: Sequence[str], out: Path
) -> list[Job]:
    """All trainings of the grid, every recipe validated before any of them runs.

    Raises:
        RecipeError: the faults of every recipe that cannot be used.
    """
    jobs, faults = [], []
    for values in itertools.product(*grid.values()):
        cell = dict(zip(grid, values, strict=True))
        for seed in seeds:
            own = (*sets, *(f"{key}={value}" for key, value in cell.items()), f"seed={seed}")
            job = Job(recipe, cell, seed, Run(out / _folder_name(cell) / f"seed-{seed}"), own)
            try:
                load_recipe(recipe, own)
            except RecipeError as error:
                faults += [f"{job}: {line}" for line in str(error).splitlines()]
            jobs.append(job)
    if faults:
        raise RecipeError("\n".join(dict.fromkeys(faults)))
    return jobs


def _folder_name(cell: Cell) -> str:
    name = ",".join(f"{key}={value}" for key, value in cell.items())
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", name)[:120]
    if safe != name:
        safe += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return safe or "all"


def run_jobs(jobs: Sequence[Job], *, nproc: int = 1, say: Say) -> dict[Path, str]:
    """Train what is not finished, one after another.

    Returns:
        Why trainings failed, by run folder.

    Raises:
        U2AError: a folder holds a run of another recipe.
    """
    failed: dict[Path, str] = {}
    for number, job in enumerate(jobs, 1):
        if job.run.exists:
            check_same(load_recipe(job.recipe, job.sets), job.run)
        if finished(job.run):
            say(f"{number}/{len(jobs)}  {job}: finished already")
            continue
        say(f"{number}/{len(jobs)}  {job}: training in {job.run}")
        if code := _train(job, nproc):
            say(f"{number}/{len(jobs)}  {job}: failed with exit code {code}")
            failed[job.run.folder] = f"exit code {code}"
    return failed


def _train(job: Job, nproc: int) -> int:
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(nproc)]
    start = [*many, "-m", "u2a", "--"] if nproc > 1 else ["-m", "u2a"]  # torchrun would take --run for its own
    sets = [part for value in job.sets for part in ("--set", value)]
    job.run.folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        *start,
        "train",
        job.recipe,
        *sets,
        "--run",
        str(job.run),
        "--resume",
        "--no-baselines",
    ]
    process = subprocess.Popen(command, stdout=2)  # the command's own output may be for programs
    try:
        return process.wait()
    except KeyboardInterrupt:  # the training has been told, too, and is saving
        process.wait()
        raise


def collect(jobs: Sequence[Job], split: str, sets: Sequence[str], say: Say) -> dict[str, Any]:
    """Score every finished run, all availability patterns, and average over seeds.

    Raises:
        U2AError: seeds of one cell were trained for different epochs.
    """
    done = [job for job in jobs if finished(job.run)]
    _check_epochs(done)
    rows: list[dict[str, Any]] = []
    for job in done:
        say(f"{job}: scoring split {split}")
        row: dict[str, Any] = {"values": job.cell, "seed": job.seed, "run": str(job.run)}
        rows.append({**row, "patterns": _scores(job.run, split, sets)})
    cells: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row["values"].values()), []).append(row)
    return {"split": split, "runs": rows, "cells": [_summary(members) for members in cells.values()]}


def _check_epochs(jobs: Sequence[Job]) -> None:
    """A recipe that leaves its epochs out takes those of a run that is there, whoever chose them."""
    first: dict[tuple[str, ...], tuple[Run, int]] = {}
    for job in jobs:
        epochs = job.run.recipe().training.epochs
        other, others = first.setdefault(tuple(job.cell.values()), (job.run, epochs))
        if epochs != others:
            raise U2AError(
                f"{job.run} was trained for {epochs} epochs, {other} for {others}: they cannot be averaged; "
                "delete one of them, or name another --out"
            )


def _scores(run: Run, split: str, sets: Sequence[str]) -> list[dict[str, Any]]:
    machine = [value for value in sets if value.startswith(("training.device=", "data.workers="))]
    scenarios, _ = sweep_run(run.folder, split=split, sets=machine)
    return [scenario.as_dict() for scenario in scenarios]


def _summary(members: list[dict[str, Any]]) -> dict[str, Any]:
    """One cell of the grid: mean and sample standard deviation over its seeds, for every pattern.

    A pattern may lack a seed: tables drawn from seeds can leave nothing of a small split.
    """
    scores: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for pattern in (pattern for member in members for pattern in member["patterns"]):
        scores.setdefault(tuple(pattern["dropped"]), []).append(pattern["scores"])
    patterns = []
    for dropped, same in scores.items():
        values = {metric: [one[metric] for one in same] for metric in same[0]}
        patterns.append(
            {
                "dropped": list(dropped),
                "seeds": len(same),
                "mean": {metric: float(np.mean(s)) for metric, s in values.items()},
                "sd": {metric: _deviation(s) for metric, s in values.items()},
            }
        )
    seeds = [member["seed"] for member in members]
    return {"values": members[0]["values"], "seeds": seeds, "patterns": patterns}


def _deviation(scores: list[float]) -> float | None:
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else None


def write_sweep(result: dict[str, Any], out: Path) -> None:
    """``sweep.json`` with everything, ``sweep.csv`` with a line for every cell and pattern."""
    write_json(out / "sweep.json", result)
    rows = [
        {
            **cell["values"],
            "seeds": pattern["seeds"],
            "missing": " ".join(pattern["dropped"]),
            **{f"{metric} mean": value for metric, value in pattern["mean"].items()},
            **{f"{metric} sd": value for metric, value in pattern["sd"].items()},
        }
        for cell in result["cells"]
        for pattern in cell["patterns"]
    ]
    write_csv(out / "sweep.csv", rows)
