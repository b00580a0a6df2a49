"""The last words of a training: where it is behind a baseline, and that nothing there costs the training."""

from __future__ import annotations

from pathlib import Path

import pytest
import toys
from click.testing import CliRunner

from u2a.cli.main import main
from u2a.report import verdict as words
from u2a.runs.folder import Run


@pytest.fixture(scope="module")
def recipe(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdict")
    return toys.make(folder / "toy", checkpoints, counts={"train": 48, "val": 32, "test": 40})


def train(recipe: Path, run: Path, *options: str) -> list[str]:
    done = CliRunner().invoke(main, ["train", str(recipe), "--run", str(run), *options])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def sets(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def test_a_model_that_learned_nothing_is_behind_and_told_what_to_try(recipe: Path, tmp_path: Path) -> None:
    line = train(recipe, tmp_path / "run", *sets("training.lr=1e-9", "training.epochs=1"))[-1]
    assert line.startswith("verdict (40 test samples): image + text: ")
    assert "points behind the linear probe of exactly these modalities" in line
    assert 'try: model.fusion = "per_modality", training.head_start = true' in line


def test_a_head_start_is_behind_nothing_and_its_tokens_serve_again(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = sets('model.fusion="per_modality"', "training.head_start=true", "training.epochs=0")
    run = tmp_path / "run"
    assert train(recipe, run, *ahead)[-1].endswith("in no pattern significantly behind a baseline")
    assert (run / "frozen-train.safetensors").exists()
    assert (run / "frozen-val.safetensors").exists()
    (recipe.parent / "shards/train-000000.tar").rename(tmp_path / "away")  # it is not read again
    try:
        lines = words.training_verdict(Run(run))
    finally:
        (tmp_path / "away").rename(recipe.parent / "shards/train-000000.tar")
    assert lines[-1].endswith("in no pattern significantly behind a baseline")


def test_no_failure_of_the_verdict_costs_the_training(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: object, **options: object) -> None:
        raise ZeroDivisionError("anything\nat all")

    monkeypatch.setattr("u2a.report.baselines.compare_with_baselines", breaks)
    lines = train(recipe, tmp_path / "run", *sets("training.epochs=1"))
    assert lines[-1] == "verdict: none: ZeroDivisionError: anything at all"
    assert train(recipe, tmp_path / "other", "--no-verdict", *sets("training.epochs=1"))[-1].startswith(
        "done; "
    )


def test_without_test_samples_the_held_out_ones_judge_and_without_any_it_is_said(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    recipe = toys.make(tmp_path / "toy", checkpoints, counts={"train": 48})
    one = sets("training.epochs=1")
    line = train(recipe, tmp_path / "held", *one, *sets("data.holdout=0.25"))[-1]
    assert line.startswith("verdict (12 held-out training samples; these samples also chose the checkpoint): ")
    line = train(recipe, tmp_path / "none", *one)[-1]
    assert line.startswith("verdict: none: no test split and nothing held out")
