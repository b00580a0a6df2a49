"""From files to a trained model with the commands that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from u2a_plugin_mymodality.decode import encode_npy

from u2a.cli.main import main

RECIPE = """
name = "example"

[data]
shards = "shards"
workers = 0

[task]
classes = ["low", "high"]

[modalities.mymodality]
features = 3
longest = 16
width = 32

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
        values = np.random.default_rng(number).normal(2 * (number % 2) - 1, 1, (4 + number % 5, 3))
        (folder / f"{number}.npy").write_bytes(encode_npy(values))
        split = "train" if number < 32 else "test"
        rows.append({"key": str(number), "split": split, "label": label, "mymodality": f"{number}.npy"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_pack_train_and_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    write_manifest(tmp_path)
    run("data", "pack", "recipe.toml", "--manifest", "manifest.jsonl")
    run("train", "recipe.toml", "--run", "runs/example", "--no-baselines")
    scores = json.loads(run("eval", "runs/example", "--json"))
    assert scores["n"] == 16
    assert scores["complete"]["accuracy"] > 0.8
