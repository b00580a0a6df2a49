"""What was said to be saved is there after the power fails (a disk that loses all that was not flushed)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import toys
from power_loss import Disk

from u2a.common.distributed import World
from u2a.common.files import put_folder, write_json, write_text
from u2a.data.packing.pack import pack_manifest
from u2a.data.reading.missing import draw_table
from u2a.data.reading.missing_files import read_table, write_tables
from u2a.data.reading.opening import open_recipe_split
from u2a.errors import CheckpointError
from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts={"train": 8, "test": 4})


def test_the_disk_forgets_what_was_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    (tmp_path / "never.txt").write_text("never")
    write_text(tmp_path / "flushed.txt", "flushed")
    (tmp_path / "late.txt").write_text("late")
    disk.fail(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "flushed.txt": "flushed",
        "never.txt": "",
    }


def test_a_checkpoint_outlives_a_power_failure(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, recipe, run = Disk(monkeypatch), load_recipe(toy), Run(tmp_path / "run")
    place = World(0, 1, 0, 1, torch.device("cpu"))
    trainer = Trainer(recipe, run, place)
    run.create(recipe)
    trainer.fit()
    disk.fail(run.folder)
    for pointer in ("LAST", "BEST"):
        assert checkpoint.verify(checkpoint.current(run.checkpoints, pointer))["step"] == trainer.done
    again = Trainer(run.recipe(), run, place)
    again.resume()
    assert again.done == trainer.total
    assert json.loads((run.folder / "versions.json").read_text())


def test_a_save_that_breaks_off_leaves_the_one_before(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    place = World(0, 1, 0, 1, torch.device("cpu"))
    trainer = Trainer(load_recipe(toy), run, place)
    run.create(trainer.recipe)
    meta = {"modalities": checkpoint.describe_modalities(trainer.model)}
    before = checkpoint.save_checkpoint(run.checkpoints, 1, trainer.model, trainer.optimizer, meta, best=True)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "sync_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save_checkpoint(run.checkpoints, 2, trainer.model, trainer.optimizer, meta, best=True)
    for pointer in ("LAST", "BEST"):
        assert checkpoint.current(run.checkpoints, pointer) == before
    assert checkpoint.verify(before)["step"] == 1
    assert {path.name for path in run.checkpoints.iterdir()} == {"LAST", "BEST", before.name}


def test_a_packed_data_set_outlives_a_power_failure(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, recipe = Disk(monkeypatch), load_recipe(toy)
    out = tmp_path / "out"
    pack_manifest(recipe, toy.parent / "manifest.jsonl", out, shard_size=3)
    names = {path.name for path in out.iterdir()}
    disk.fail(out)
    assert {path.name for path in out.iterdir()} == names
    moved = load_recipe(toy, [f"data.shards={out}"])
    for split, n in (("train", 8), ("test", 4)):
        opened = open_recipe_split(moved, split)
        assert len([opened.members(i, ("image", "text")) for i in range(n)]) == len(opened) == n


def test_a_folder_that_was_put_in_place_is_there_before_anything_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, made = Disk(monkeypatch), tmp_path / "made"
    made.mkdir()
    write_text(made / "file.txt", "whole")
    put_folder(made, tmp_path / "step-00000001")
    disk.fail(tmp_path)
    assert (tmp_path / "step-00000001/file.txt").read_text() == "whole"


def test_small_files_outlive_a_power_failure(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, split = Disk(monkeypatch), open_recipe_split(load_recipe(toy), "train")
    table = draw_table(split, rate=0.5, missing="image", seed=0)
    write_tables(tmp_path / "table.safetensors", split.modalities, {"train": table})
    disk.fail(tmp_path)
    assert (read_table(tmp_path / "table.safetensors", split).kept_NM == table.kept_NM).all()
    write_json(tmp_path / "report.json", {"score": 1})
    disk.fail(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == {"score": 1}
