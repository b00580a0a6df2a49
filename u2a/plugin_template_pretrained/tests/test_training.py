"""From files to a trained model with the commands that a user types."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from u2a.cli.main import main

RECIPE = """
name = "example"

[data]
shards = "shards"
workers = 0

[task]
classes = ["low", "high"]

[modalities.mymodality]
encoder = "ENCODER"

[training]
batch_size = 8
epochs = 3
warmup_epochs = 0
lr = 1e-2
device = "cpu"
"""


def run(*command: str) -> str:
    result = CliRunner().invoke(main, list(command), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def write_manifest(folder: Path) -> None:
    rows = []
    for number in range(48):
        label = ("low", "high")[number % 2]
        text = "".join(random.Random(number).choices(("abcde", "mnopq")[number % 2], k=4 + number % 5))
        split = "train" if number < 32 else "test"
        rows.append({"key": str(number), "split": split, "label": label, "mymodality": text})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_pack_train_and_evaluate(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("ENCODER", str(encoder)))
    write_manifest(tmp_path)
    run("data", "pack", "recipe.toml", "--manifest", "manifest.jsonl")
    run("train", "recipe.toml", "--run", "runs/example", "--no-baselines")
    scores = json.loads(run("eval", "runs/example", "--json"))
    assert scores["n"] == 16
    assert scores["complete"]["accuracy"] > 0.8
