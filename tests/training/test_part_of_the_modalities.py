"""A recipe with a part of the shards' modalities: samples that have none of them are left out, and counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import toys
from click.testing import CliRunner

from u2a.cli.main import main

pytestmark = pytest.mark.compares


def test_it_trains_scores_and_compares(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    recipe = toys.make(
        tmp_path / "toy",
        checkpoints,
        counts={"train": 40, "val": 16, "test": 16},
        presence=lambda i: (i % 8 != 3, i % 8 != 6),
    )
    text = recipe.read_text()
    recipe.write_text(re.sub(r"\[modalities.image\][^\[]*", "", text[: text.index("[model]")]))
    run = str(tmp_path / "run")
    sets = ["--set", "training.device=cpu", "--set", "training.epochs=1"]
    done = CliRunner().invoke(main, ["train", str(recipe), "--run", run, *sets])
    assert done.exit_code == 0, done.output
    assert "train: 5 samples have none of text: left out, 35 remain" in done.stderr
    assert "beside baselines on 14 validation samples" in done.stdout
    scored = CliRunner().invoke(main, ["eval", run])
    assert f"run {run}, split test, N 14, n_empty 0" in scored.stdout
    assert "test: 2 samples have none of text: left out, 14 remain" in scored.stderr
    assert "(N 14)" in CliRunner().invoke(main, ["baselines", run]).stdout
    stream = ["--set", "data.streaming=true", "--set", "data.samples_per_epoch=32"]
    streamed = CliRunner().invoke(main, ["train", str(recipe), "--run", f"{run}-streamed", *sets, *stream])
    assert streamed.exit_code == 0, streamed.output
