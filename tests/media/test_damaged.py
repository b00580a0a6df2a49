"""A sample of `benchmarks/damaged.py`: nothing but the sample's own error comes of damaged files."""

from __future__ import annotations

import json
import os
import random
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from u2a.cli.main import main
from u2a.errors import BadSample, PluginError

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "damaged.py"


@pytest.mark.slow
def test_damaged_files_stop_nothing_and_a_run_goes_on(tmp_path: Path):
    lines = tmp_path / "out.jsonl"
    for members in ("100", "400"):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(lines), members],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert [json.loads(line)["seed"] for line in lines.read_text().splitlines()] == list(range(400))
    assert done.stdout.startswith("400 members")


@pytest.mark.slow
def test_a_training_leaves_out_what_damage_spoilt_and_counts_it(tmp_path: Path):
    script = runpy.run_path(str(SCRIPT))
    found, trials = script["sources"](), script["Trials"](tmp_path)
    spoilt, rows = set(), []
    for seed in range(300):
        draw, name = random.Random(seed), sorted(found)[seed % len(found)]
        member, extension = script["damaged"](found[name], list(found.values()), draw), name.split(".")[-1]
        fitting = [m for m in script["MODALITIES"] if extension in trials.packer.extensions[m]]
        if not member or not fitting or fitting == ["text"]:
            continue
        (tmp_path / f"{seed}.{extension}").write_bytes(member)
        modality, key = draw.choice(fitting), f"k{seed}"
        cells = {modality: f"{seed}.{extension}", "text": f"sample {seed}"}
        rows.append({"key": key, "split": "train", "label": "ab"[seed % 2], **cells})
        try:
            trials.predictor.preprocessors[modality](member, train=False, seed=0)
        except (BadSample, PluginError):
            spoilt.add(key)
    assert 50 < len(spoilt) < len(rows) - 50
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["train", "recipe.toml", "--run", "run", "--no-baselines"]
    for one in ("epochs=1", "batch_size=1", "warmup_epochs=0", "modality_dropout=off"):
        words += ["--set", f"training.{one}"]
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        done = [
            CliRunner().invoke(main, ["data", "pack", "recipe.toml", "--manifest", "m.jsonl", "--no-check"]),
            CliRunner().invoke(main, [*words, "--set", "data.on_error=skip"]),
        ]
    finally:
        os.chdir(before)
    assert [one.exit_code for one in done] == [0, 0], done[0].output + done[1].output
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert {line["key"] for line in lines if line["type"] == "unreadable"} == spoilt
    steps = [line for line in lines if line["type"] == "train"]
    assert (len(steps), sum(line.get("left_out", 0) for line in steps)) == (len(rows), len(spoilt))
