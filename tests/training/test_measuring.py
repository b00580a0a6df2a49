"""Encoders that are fitted to the training samples before the first step, held against scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import two_processes
from click.testing import CliRunner
from safetensors.torch import load_file
from sklearn.preprocessing import StandardScaler

import u2a
from u2a.cli.main import main
from u2a.data.feeding.held_out import held_out
from u2a.data.preprocessors import build_preprocessors
from u2a.data.reading.opening import evaluation_split
from u2a.recipe.file import load_recipe
from u2a.report import frozen
from u2a.runs.checkpoint import current
from u2a.training.measuring import fit_encoders
from u2a.training.trainer import Trainer

HERE = Path(__file__).parent
RECIPE = """
name = "measured"
[data]
shards = "shards"
workers = 0
[task]
classes = ["a", "b"]
[modalities.x]
kind = "features"
size = 3
[modalities.y]
kind = "features"
size = 2
[modalities.row]
kind = "tabular"
columns = { z = { mean = 0.0, std = 1.0 } }
[training]
device = "cpu"
batch_size = 8
epochs = 2
warmup_epochs = 0
"""
SPREAD = np.array([1.0, 300.0, 1e-4])


def run(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every fifth sample x is missing, of every third y; test is elsewhere altogether."""
    folder, rng, rows = tmp_path_factory.mktemp("measured"), np.random.default_rng(0), []
    for n in range(72):
        split = "train" if n < 40 else "val" if n < 56 else "test"
        row: dict[str, Any] = {"key": str(n), "split": split, "label": "ab"[n % 2], "row": {"z": float(n % 4)}}
        x, y = rng.normal(SPREAD * (9 if split == "test" else 2), SPREAD), rng.normal(size=(n % 4 + 1, 2))
        rows.append(row | ({"x": x.tolist()} if n % 5 else {}) | ({"y": (y * 7).tolist()} if n % 3 else {}))
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "recipe.toml").write_text(RECIPE)
    run("data", "pack", folder / "recipe.toml", "--manifest", folder / "m.jsonl")
    return folder / "recipe.toml"


def wanted(recipe: Path, name: str, *sets: str) -> StandardScaler:
    """Of the training samples that are not held out."""
    loaded = load_recipe(str(recipe), sets)
    split = evaluation_split(loaded, "train")
    used_N = ~held_out(split, loaded)[0]
    keys = {key for key, used in zip(split.keys(), used_N, strict=True) if used}
    rows = map(json.loads, (recipe.parent / "m.jsonl").read_text().splitlines())
    vectors = [np.atleast_2d(row[name]) for row in rows if row["key"] in keys and name in row]
    return StandardScaler().fit(np.concatenate(vectors))


def check(state: dict[str, Any], name: str, scaler: StandardScaler) -> None:
    prefix = f"{name}.buffer.standard."
    np.testing.assert_allclose(state[f"{prefix}mean_F"], scaler.mean_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(1 / state[f"{prefix}scale_F"], scaler.scale_, rtol=1e-5)


def state_of(run: Path) -> dict[str, Any]:
    return load_file(current(run / "checkpoints", "LAST") / "adapter.safetensors")


@pytest.mark.parametrize("sets", [(), ("data.holdout=0.3",), ("model.fusion=sum", "training.head_start=false")])
def test_the_training_samples_statistics_go_with_the_checkpoint(recipe: Path, tmp_path: Path, sets) -> None:
    where = [word for one in sets for word in ("--set", one)]
    run("train", recipe, "--run", tmp_path / "run", "--no-baselines", *where)
    for name in ("x", "y"):
        check(state_of(tmp_path / "run"), name, wanted(recipe, name, *sets))
    run("train", tmp_path / "run", "--resume", "--no-baselines", "--set", "training.epochs=3")
    check(state_of(tmp_path / "run"), "x", wanted(recipe, "x", *sets))
    if not sets:
        _baselines_see_them(tmp_path / "run", wanted(recipe, "x"))


def _baselines_see_them(folder: Path, scaler: StandardScaler) -> None:
    """The test split's tokens are made anew, by an untrained encoder that is fitted all the same."""
    model = u2a.load(str(folder))
    split = evaluation_split(model.recipe, "test")
    test = frozen.frozen_features(model, (split, None))[2]
    carried = test.read_NF[0][:, 64:67][test.present_NM[:, 0]]
    members = [split.members(i, ["x"])["x"] for i in np.flatnonzero(test.present_NM[:, 0]).tolist()]
    values = torch.cat([model.preprocessors["x"](m, train=False, seed=0)["values"] for m in members])
    np.testing.assert_allclose(carried, scaler.transform(values.numpy()), rtol=1e-3, atol=1e-3)


def test_no_other_modality_is_read(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_recipe(str(recipe))
    with u2a.common.distributed.world("cpu") as place:
        made = Trainer(loaded, u2a.runs.folder.Run(tmp_path / "run"), place)

        def refuse(*args: Any, **how: Any) -> None:
            raise AssertionError("was read")

        monkeypatch.setitem(made.data.preprocessors, "row", refuse)
        branch, rows = next(made.model.each_branch()), []
        fit = branch.backbone.fit
        monkeypatch.setattr(
            branch.backbone, "fit", lambda measured_NX: (rows.extend(measured_NX), fit(measured_NX))
        )
        fit_encoders(made.model, made.data, place)
    assert len(rows) == 32  # of 40 samples
    assert set(made.data.preprocessors) == set(build_preprocessors(loaded))
    np.testing.assert_allclose(branch.backbone.standard.mean_F, wanted(recipe, "x").mean_, rtol=1e-5)


def test_two_processes_have_the_same(recipe: Path, tmp_path: Path) -> None:
    words = ("train", str(recipe), "--run", str(tmp_path / "run"), "--no-baselines")
    for code, said in two_processes.run({"train": ("command", words)}, tmp_path, [HERE.parent])["train"]:
        assert code == 0, said
    for name in ("x", "y"):
        check(state_of(tmp_path / "run"), name, wanted(recipe, name))


def test_a_wrong_measure_is_the_plugins(recipe: Path, tmp_path: Path) -> None:
    with u2a.common.distributed.world("cpu") as place:
        made = Trainer(load_recipe(str(recipe)), u2a.runs.folder.Run(tmp_path / "run"), place)
        branch = next(made.model.each_branch())
        branch.backbone.n_measures = 4
        with pytest.raises(u2a.errors.PluginError, match=r"modality 'x' .*measure failed"):
            fit_encoders(made.model, made.data, place)
