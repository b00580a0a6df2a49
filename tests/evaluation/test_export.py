"""`u2a eval --predictions`: every score follows from the file, whichever its kind."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import four
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

import u2a
from u2a.evaluation.export import prediction_rows


@pytest.fixture(scope="module", params=[False, True], ids=["single", "multi"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, checkpoints: Any) -> str:
    folder = tmp_path_factory.mktemp("export")
    recipe = four.make(folder, checkpoints, gaps=True, multi_label=request.param)
    return str(four.train(recipe, folder / "run", "training.epochs=1"))


def read(file: Path) -> list[dict[str, Any]]:
    """Rows with lists as lists and probabilities as numbers."""
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if file.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        return parquet.read_table(file).to_pylist()
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: json.loads(v) if v[:1] == "[" else v for k, v in row.items()} for row in rows]


def test_the_sweeps_scores_follow_from_the_file(run: str, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    found = json.loads(four.invoke("eval", run, "--sweep", "--predictions", file, "--json"))["patterns"]
    rows = read(file)
    assert len(rows) == sum(pattern["n"] for pattern in found)
    at = 0
    for pattern in found:
        own, at = rows[at : at + pattern["n"]], at + pattern["n"]
        assert all(not set(row["available"]) & set(pattern["dropped"]) for row in own)
        assert all(set(row["missing"]) <= set(pattern["dropped"]) for row in own)
        p = np.array([[row[f"p({name})"] for name in four.CLASSES] for row in own])
        if isinstance(own[0]["label"], str):
            guess = [four.CLASSES[c] for c in p.argmax(1)]
            assert guess == [row["prediction"] for row in own]
            score = accuracy_score([row["label"] for row in own], guess)
            assert score == pytest.approx(pattern["scores"]["accuracy"])
            assert p.sum(1) == pytest.approx(1, abs=1e-5)
        else:
            truth = np.array([[name in row["label"] for name in four.CLASSES] for row in own])
            each = f1_score(truth, p >= 0.5, average=None, zero_division=0)
            assert each[truth.any(0)].mean() == pytest.approx(pattern["scores"]["f1_macro"])
            assert [row["prediction"] for row in own] == [
                [name for name, there in zip(four.CLASSES, one, strict=True) if there] for one in p >= 0.5
            ]


def test_a_label_of_exactly_one_half_is_predicted_as_the_scores_take_it(run: str) -> None:
    model = u2a.load(run)
    task = model.recipe.task
    if task.kind == "single_label":
        pytest.skip("of several labels")
    with torch.no_grad():
        for parameter in model.network.head.parameters():
            parameter.zero_()
    (row, *_) = prediction_rows(model.network, model.encode("test"), task, [torch.ones(4, dtype=torch.bool)])
    assert [row[f"p({name})"] for name in four.CLASSES] == [0.5] * len(four.CLASSES)
    assert row["prediction"] == list(four.CLASSES)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_the_file_says_the_same_in_every_kind(run: str, tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    wanted, file = tmp_path / "wanted.jsonl", tmp_path / f"drop.{ending}"
    four.invoke("eval", run, "--drop", "left", "--predictions", wanted)
    four.invoke("eval", run, "--drop", "left", "--predictions", file)
    first, again = read(wanted), read(file)
    assert len(again) == len(first) == 20 + 15  # complete, and the fifteen that have more than left
    for a, b in zip(first, again, strict=True):
        assert list(a) == list(b)
        assert all(b[k] == a[k] or float(b[k]) == a[k] for k in a)


def test_what_cannot_be_written_is_said_before_anything_is_encoded(run: str, tmp_path: Path) -> None:
    for file, said in (
        ("a.xlsx", "give a file that ends in .csv, .jsonl, .parquet"),
        ("none/a.csv", "there is no folder"),
    ):
        assert said in four.invoke("eval", run, "--predictions", tmp_path / file, code=2)
    said = four.invoke("eval", run, "--rates", "left=0.1", "--predictions", tmp_path / "a.csv", code=2)
    assert "with --rates there are none: use --sweep" in said
