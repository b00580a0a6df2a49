"""Which run a command means, and what is read of a log that a crash cut off; by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import toys

from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run, find_run, latest_run, new_run
from u2a.training.lock import training_in


def made(folder: Path, seconds: int) -> Path:
    """A run that saved its last checkpoint at that time."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "recipe.toml").write_text("")
    (folder / "checkpoints/LAST").write_text("step-00000001\n")
    os.utime(folder / "checkpoints/LAST", (seconds, seconds))
    return folder


def test_without_a_name_the_newest_run_is_meant_that_nobody_trains(tmp_path: Path) -> None:
    with pytest.raises(U2AError, match="no finished run"):
        find_run(None, tmp_path)
    old, new, middle = (
        made(tmp_path / name, seconds) for name, seconds in (("c", 100), ("a", 300), ("b", 200))
    )
    (tmp_path / "d/checkpoints").mkdir(parents=True)  # began, and saved nothing
    assert find_run(None, tmp_path).folder == new
    with training_in(new):
        assert find_run(None, tmp_path).folder == middle
        with training_in(middle), training_in(old), pytest.raises(U2AError, match="is still in training"):
            find_run(None, tmp_path)
    assert find_run(None, tmp_path).folder == new


def test_going_on_without_a_name_is_with_the_last_of_the_recipes_runs(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    recipe = load_recipe(toys.make(tmp_path / "toy", checkpoints, counts={"train": 8, "test": 4}))
    root = tmp_path / "runs"
    assert latest_run(recipe, root) is None
    for number, seconds in ((2, 100), (10, 50), (9, 300)):
        made(root / f"{recipe.name}-{number:03d}", seconds)
    (root / f"{recipe.name}-011").mkdir()  # taken, and nothing begun in it
    made(root / f"{recipe.name}-else-012", 400)
    found = latest_run(recipe, root)
    assert found is not None
    assert found.folder == root / f"{recipe.name}-010"
    assert new_run(recipe, root).folder == root / f"{recipe.name}-012"


def test_half_a_line_of_the_log_is_passed_over_and_forgotten(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (1, 2, 3):
        run.log({"type": "train", "step": step})
    run.log({"type": "validation", "step": 3, "told": "train"})
    with run.metrics_file.open("a") as file:
        file.write('{"type": "train", "st')
    assert [line["step"] for line in run.lines("train")] == [1, 2, 3]
    run.forget_after(2)
    assert [line["step"] for line in run.lines("train")] == [1, 2]
    assert run.lines("validation") == []


@pytest.mark.parametrize("address", ["s3://", "s3:///runs/x", "gs:///", "file://", "file:///"])
def test_an_address_without_a_bucket_is_no_folder_called_so(address: str) -> None:
    """What ``s3://$BUCKET/runs/x`` is where the variable is not set."""
    with pytest.raises(U2AError, match="names no bucket"):
        Run(address)
    assert str(Run("s3://bucket/runs/x/")) == "s3://bucket/runs/x"
