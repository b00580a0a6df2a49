"""What a training cannot learn from its data, what it holds out, and what it leaves behind; by hand."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from PIL import Image

from u2a.common.distributed import World
from u2a.data.feeding.held_out import held_out
from u2a.data.packing.pack import pack_manifest
from u2a.data.reading.opening import evaluation_split
from u2a.recipe.file import load_recipe
from u2a.training.gaps import class_counts, gaps
from u2a.training.indexed_data import IndexedData
from u2a.training.lock import training_in
from u2a.training.signals import StopSignal


def test_modalities_pairs_and_classes_that_no_used_sample_has(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """Even samples have a picture, odd ones a text, and the seventh, which is not used, has both."""
    presence = lambda i: (i % 2 == 0 or i == 7, i % 2 == 1)  # noqa: E731
    recipe = load_recipe(toys.make(tmp_path, checkpoints, counts={"train": 9, "test": 4}, presence=presence))
    split, classes = evaluation_split(recipe, "train"), recipe.task.classes
    assert classes == ("sea", "boat", "town", "film")
    numbers = np.array([int(split.key(i).split("-")[1]) for i in range(9)])
    used_N = ~np.isin(numbers, [3, 6, 7])
    assert class_counts(split, used_N, 4).tolist() == [3, 2, 1, 0]
    pair = (
        "no training sample has both image and text: neither learns to stand in for the other, "
        "and samples with both are like none in training"
    )
    lines = [
        "classes without a training sample, which cannot be learned: film",
        "classes of one training sample: town",
    ]
    assert gaps(split, used_N, classes) == [pair, *lines]
    assert gaps(split, np.ones(9, bool), classes) == []
    (missing, *_) = gaps(split, numbers % 2 == 0, classes)
    assert missing == "no training sample has text: what will be predicted from it is untrained"


def test_validation_samples_that_are_training_samples_are_counted(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    recipe = toys.make(tmp_path / "toy", checkpoints, counts={"train": 20, "val": 8, "test": 8})
    folder = recipe.parent
    rows = {row["key"]: row for row in map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())}
    for i in range(8):
        Image.new("RGB", (32, 32), (20 * i, 7, 9)).save(folder / f"val-{i}.png")
    for train, val in ((3, 0), (4, 1), (4, 2)):
        shutil.copy(folder / f"train-{train}.png", folder / f"val-{val}.png")
        rows[f"val-{val}"]["text"] = rows[f"train-{train}"]["text"]
    rows["val-2"]["text"] = "another question of the same picture"
    rows["val-7"]["text"] = rows["train-7"]["text"]
    (folder / "twins.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    pack_manifest(load_recipe(recipe), folder / "twins.jsonl", folder / "twins")

    def told(*sets: str) -> list[str]:
        made = IndexedData(
            load_recipe(recipe, (f"data.shards={folder / 'twins'}", *sets)),
            World(0, 1, 0, 1, torch.device("cpu")),
        )
        return [line for line in made.notices() if "copies of training samples" in line]

    (line,) = told()
    assert line.startswith("2 of 8 validation samples are copies of training samples")
    assert told("data.holdout=0.3") == []  # keeps twins together
    for i in range(3):
        rows[f"val-{i}"]["image"] = "val-7.png"
    (folder / "apart.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    pack_manifest(load_recipe(recipe), folder / "apart.jsonl", folder / "apart")
    assert told(f"data.shards={folder / 'apart'}") == []


def test_handlers_are_what_they_were_after_a_training() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with StopSignal(alone=True):
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_what_is_held_out_depends_on_the_seed_and_nothing_else(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    file = toys.make(tmp_path, checkpoints, counts={"train": 30, "test": 4})
    found = []
    for seed in (0, 0, 1):
        recipe = load_recipe(file, ["data.holdout=0.3", f"seed={seed}"])
        found.append(held_out(evaluation_split(recipe, "train"), recipe)[0].tolist())
    assert found[0] == found[1] != found[2]
    assert [sum(one) for one in found] == [9, 9, 9]


def test_classes_are_weighed_by_the_samples_that_are_trained_on(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """n / (C n_c) over the C classes that occur, as scikit-learn's "balanced"."""
    file = toys.make(tmp_path, checkpoints, counts={"train": 30, "test": 4})
    recipe = load_recipe(file, ["data.holdout=0.3", "task.class_weights=balanced"])
    split = evaluation_split(recipe, "train")
    held_N, _ = held_out(split, recipe)
    labels = np.array([split.labels(i)[0] for i in range(30)])
    used, everyone = np.bincount(labels[~held_N], minlength=4), np.bincount(labels, minlength=4)
    wanted, of_all = (counts.sum() / (4 * counts) for counts in (used, everyone))
    assert not np.allclose(wanted, of_all)
    found = IndexedData(recipe, World(0, 1, 0, 1, torch.device("cpu"))).class_weights
    assert found.tolist() == pytest.approx(wanted.tolist())


def test_a_run_folder_that_stayed_empty_keeps_nothing_of_a_training(tmp_path: Path) -> None:
    with training_in(tmp_path / "run"):
        assert list((tmp_path / "run").iterdir())
    assert not list((tmp_path / "run").iterdir())
