"""With defaults, through the commands of a user, beside logistic regression and the best that can be."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from u2a.cli.main import main

RECIPE = """
name = "vectors"

[data]
shards = "shards"
workers = 0

[task]
classes = ["a", "b"]

[modalities.pooled]
kind = "features"
size = 24

[modalities.steps]
kind = "features"
size = 12

[training]
device = "cpu"
"""
TRAIN, TEST = 600, 600
#: Distance of the classes' means in standard deviations, in each modality.
APART = 2.0


def run(*command: str) -> str:
    result = CliRunner().invoke(main, list(command), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def draw() -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Labels, vectors [24], and sequences of 3 to 9 vectors [12] whose mean is as far apart."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, TRAIN + TEST)
    sign = 2 * labels - 1
    first, second = (axis / np.linalg.norm(axis) for axis in (rng.normal(size=24), rng.normal(size=12)))
    pooled = rng.normal(size=(len(labels), 24)) + sign[:, None] * first * APART / 2
    steps = []
    for one in sign:
        T = rng.integers(3, 10)
        noise = rng.normal(size=(T, 12)) * np.sqrt(T)  # so that the mean has a standard deviation of 1
        steps.append(noise + one * second * APART / 2)
    return pooled, steps, labels


def write(folder: Path, pooled: np.ndarray, steps: list[np.ndarray], labels: np.ndarray) -> None:
    rows = []
    for n, label in enumerate(labels):
        np.save(folder / f"{n}.npy", np.asfortranarray(steps[n]).astype(">f8"))
        row = {"key": str(n), "split": "train" if n < TRAIN else "test", "label": "ab"[label]}
        rows.append({**row, "pooled": pooled[n].tolist(), "steps": f"{n}.npy"})
    del rows[3]["steps"], rows[5]["pooled"]
    rows[7]["steps"] = None
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))


def logistic(values: np.ndarray, labels: np.ndarray) -> float:
    model = LogisticRegression(C=0.1, max_iter=1000).fit(values[:TRAIN], labels[:TRAIN])
    return float(model.score(values[TRAIN:], labels[TRAIN:]))


def test_with_defaults_it_is_as_good_as_logistic_regression(tmp_path, monkeypatch: pytest.MonkeyPatch):
    pooled, steps, labels = draw()
    write(tmp_path, pooled, steps, labels)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    run("data", "pack", "recipe.toml", "--manifest", "manifest.jsonl")
    run("train", "recipe.toml", "--run", "run")
    means = np.stack([one.mean(0) for one in steps])
    linear = {"": np.concatenate([pooled, means], 1), "--drop steps": pooled, "--drop pooled": means}
    for dropped, values in linear.items():
        scores = json.loads(run("eval", "run", *dropped.split(), "--json"))["scores"]
        assert scores["accuracy"] > logistic(values, labels) - 0.04, dropped
    scores = json.loads(run("eval", "run", "--json"))["scores"]
    assert abs(scores["accuracy"] - norm.cdf(APART / 2 * np.sqrt(2))) < 0.04  # what no classifier can exceed


def test_uneven_scales_and_long_vectors_are_read_as_logistic_regression_reads_them(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """Classes apart in small numbers beside huge noise; and in 300 places. So is the probe of `baselines`."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 600)
    sides = (2 * labels - 1)[:, None]
    uneven = np.concatenate(
        [0.1 * (rng.normal(size=(600, 6)) + 0.5 * sides), 1e5 * rng.normal(size=(600, 2))], 1
    )
    axis = rng.normal(size=300)
    long = rng.normal(size=(600, 300)) + 1.5 * sides * axis / np.linalg.norm(axis)
    splits = ["train"] * 200 + ["val"] * 100 + ["test"] * 300
    rows = [
        {
            "key": str(n),
            "split": split,
            "label": "ab"[labels[n]],
            "pooled": uneven[n].tolist(),
            "steps": long[n].tolist(),
        }
        for n, split in enumerate(splits)
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(
        RECIPE.replace("size = 24", "size = 8").replace("size = 12", "size = 300")
    )
    run("data", "pack", "recipe.toml", "--manifest", "m.jsonl")
    run("train", "recipe.toml", "--run", "run", "--no-baselines")
    found = {tuple(row["missing"]): row for row in json.loads(run("baselines", "run", "--json"))["patterns"]}
    for missing, values in {("steps",): uneven, ("pooled",): long}.items():
        scaled = (values - values[:200].mean(0)) / values[:200].std(0)
        models = (
            LogisticRegression(C=C, max_iter=1000).fit(scaled[:200], labels[:200]) for C in (0.001, 0.01, 0.1)
        )
        wanted = max(model.score(scaled[300:], labels[300:]) for model in models)
        assert found[missing]["score"] > wanted - 0.04, missing
        assert found[missing]["probe"]["score"] > wanted - 0.04, missing


def test_a_cell_holds_the_vector_or_names_the_file(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(
        RECIPE.replace("size = 24", "size = 2").replace("size = 12", "size = 2")
    )
    np.save(tmp_path / "file.npy", np.ones((3, 2)))
    cells = [("[1, 2]", "[[1, 2], [3, 4]]"), ("file.npy", ""), ("", "file.npy")]
    with open(tmp_path / "m.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["key", "split", "label", "pooled", "steps"])
        table.writerows([[n, "train", "a", *cell] for n, cell in enumerate(cells)])
    run("data", "pack", "recipe.toml", "--manifest", "m.csv")
    rows = pa.table(
        {
            "key": ["x", "y"],
            "split": ["test", "test"],
            "label": ["a", "b"],
            "pooled": pa.array([[1.0, 2.0], None], pa.list_(pa.float32())),
            "steps": pa.array([None, [[1.0, 2.0], [3.0, 4.0]]], pa.list_(pa.list_(pa.float64()))),
        }
    )
    pq.write_table(rows, tmp_path / "m.parquet")
    run("data", "pack", "recipe.toml", "--manifest", "m.parquet", "--out", "shards/more")
    found = packed(tmp_path / "shards")
    assert found == {
        "0.pooled.npy": [1, 2],
        "0.steps.npy": [[1, 2], [3, 4]],
        "1.pooled.npy": [[1, 1]] * 3,
        "2.steps.npy": [[1, 1]] * 3,
        "x.pooled.npy": [1, 2],
        "y.steps.npy": [[1, 2], [3, 4]],
    }


def packed(folder: Path) -> dict[str, list]:
    found = {}
    for path in folder.rglob("*.tar"):
        with tarfile.open(path) as shard:
            for member in shard:
                if member.name.endswith(".npy"):
                    found[member.name] = np.load(io.BytesIO(shard.extractfile(member).read())).tolist()
    return found


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ([1, None], "place 1 holds None, which is no number"),
        ([1, "2"], "place 1 holds '2', which is no number"),
        ([1, True], "place 1 holds True, which is no number"),
        ([[1, 2], [3]], "its vectors have 1 to 2 numbers; each needs as many"),
        ([[1, 2], 3], r"place 0 holds \[1, 2\], which is no number"),
        ([], "holds no numbers; null means missing"),
        ([[]], "holds no numbers; null means missing"),
        ([10**400, 1], "holds a number that is too large"),
        ("[0.1 0.2 ... 0.3]", r"is no JSON list of numbers; numpy prints long arrays with \.\.\."),
        ([float("nan"), 1.0], r"holds 1 values that are not finite, the first \(nan\)"),
        ([1, 2, 3], "has vectors of 3 numbers, the recipe says size = 2"),
    ],
)
def test_a_cell_that_cannot_be_a_vector_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch, cell, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("size = 24", "size = 2"))
    row = {"key": "k", "split": "train", "label": "a", "pooled": cell}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    done = CliRunner().invoke(main, ["data", "pack", "recipe.toml", "--manifest", "m.jsonl"])
    assert done.exit_code == 2
    assert re.search(said, done.output), done.output
    assert "line 1" in done.output
