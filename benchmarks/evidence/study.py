"""The study: every arm of every set, trained, scored on its test split in every pattern, and kept.

    python -m benchmarks.evidence.study            # or: make evidence
    python -m benchmarks.evidence.study drawings   # one set

Goes on where it was stopped: what is kept below ``--work`` is not done again. After ``--hours`` it stops by
itself; what tells most is done first. The tables of docs/evidence.md are written from what is kept
(`benchmarks.evidence.tables`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

import u2a
from benchmarks.evidence.arms import ARMS, Arm
from benchmarks.evidence.sets import SETS, DataSet, prepare
from u2a.evaluation.scenarios import Pattern, patterns, without_mask_tokens
from u2a.evaluation.scoring import classify
from u2a.report.baselines import run_baselines

RATE = 0.7


def main() -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="sets, or all")
    parser.add_argument("--work", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--arms", help="only these, by semicolons")
    parser.add_argument("--seeds", type=int, help="at most so many of the defaults")
    parser.add_argument("--hours", type=float, default=3, help="no training begins after so long")
    options = parser.parse_args()
    work, ends = options.work.resolve(), time.monotonic() + 3600 * options.hours
    chosen = options.arms.split(";") if options.arms else None
    for data, arm, seed in jobs(options.names, chosen, options.seeds):
        kept = result_path(work, data.name, arm.name, seed)
        if kept.is_file():
            continue
        if time.monotonic() > ends:
            print(f"{options.hours:g} hours are over; the same command goes on")
            return
        print(f"== {data.name}, {arm.name}, seed {seed}", flush=True)
        train_arm(prepare(data, work), arm, seed, work, kept)


def jobs(names: Sequence[str], arms: Sequence[str] | None, seeds: int | None) -> list[tuple[DataSet, Arm, int]]:
    """What to train: the defaults of every set, then the other arms, then the defaults' other seeds."""
    asked = [data for data in SETS if not names or data.name in names]
    for data in asked:
        if data.lacks:
            print(f"{data.name}: left out, {data.lacks}")
    found = [
        (data, arm, seed)
        for data in asked
        if not data.lacks
        for arm in ARMS
        if arm.name in (arms or data.arms or [arm.name])
        for seed in (data.seeds[:seeds] if arm.name == "default" else data.seeds[:1])
    ]
    return sorted(found, key=lambda job: (job[2] != job[0].seeds[0], job[1].name != "default"))


def result_path(work: Path, data: str, arm: str, seed: int) -> Path:
    """Where the logits of one training are kept."""
    return work / "results" / data / f"{arm.replace(' ', '_').replace(',', '')}-{seed}.npz"


def train_arm(recipe: Path, arm: Arm, seed: int, work: Path, kept: Path) -> None:
    """Train, score, keep; the run folder goes."""
    began = time.perf_counter()
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {}
    for part in _parts(recipe, arm, work):
        run = work / "runs" / f"{kept.parent.name}-{kept.stem}-{part.stem}"
        sets = (f"seed={seed}", *arm.sets, *_missing(arm, part))
        model = u2a.train(part, run=run, resume=True, sets=sets)
        facts.setdefault("validations", _validations(run))
        arrays = _logits(model, arm) | arrays  # the first part has all samples: its targets stay
        if arm.name == "default":
            facts["baselines"] = _baselines(model)
        shutil.rmtree(run)
    facts["seconds"] = time.perf_counter() - began
    kept.parent.mkdir(parents=True, exist_ok=True)
    whole = kept.with_suffix(".tmp.npz")
    np.savez_compressed(whole, facts=np.array(json.dumps(facts)), **arrays)
    whole.rename(kept)


def _parts(recipe: Path, arm: Arm, work: Path) -> Iterator[Path]:
    """The recipe, or one recipe for each availability pattern."""
    if not arm.alone:
        yield recipe
        return
    whole = tomllib.loads(recipe.read_text(encoding="utf-8"))
    names = list(whole["modalities"])
    for pattern in patterns(len(names)):
        kept = [name for name, there in zip(names, pattern, strict=True) if there]
        part = whole | {"modalities": {name: whole["modalities"][name] for name in kept}}
        path = work / "recipes" / f"{recipe.stem}-{'-'.join(kept)}.toml"
        path.write_text(tomli_w.dumps(part), encoding="utf-8")
        yield path


def _missing(arm: Arm, recipe: Path) -> tuple[str, ...]:
    if not arm.missing:
        return ()
    names = list(tomllib.loads(recipe.read_text(encoding="utf-8"))["modalities"])
    which = {"first": names[0], "second": names[1], "each": "each"}[arm.missing]
    return f"data.missing.rate={RATE}", f"data.missing.missing={which}"


def _logits(model: u2a.Model, arm: Arm) -> dict[str, np.ndarray]:
    """Logits of the test split by pattern; of a dedicated model those of its own modalities alone."""
    encoded = model.encode("test")
    found = {"target": encoded.target.numpy(), "present_NM": encoded.present_NM.numpy()}
    names = model.network.names
    for pattern in patterns(len(names))[: 1 if arm.alone else None]:
        kept_NM = encoded.present_NM & torch.tensor(pattern)
        key = pattern_key(names, pattern)
        found[key] = classify(model.network, encoded, kept_NM).numpy()
        if arm.zeros:
            zeros = without_mask_tokens(encoded)
            found[f"zeros {key}"] = classify(model.network, zeros, kept_NM).numpy()
    return found


def pattern_key(names: Sequence[str], pattern: Pattern) -> str:
    """What is there, by plus signs."""
    return "+".join(name for name, kept in zip(names, pattern, strict=True) if kept)


def _validations(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["type"] == "validation"]


def _baselines(model: u2a.Model) -> dict[str, Any] | None:
    try:
        return run_baselines(model)
    except u2a.U2AError as error:
        print(f"baselines: {error}")
        return None


if __name__ == "__main__":
    main()
