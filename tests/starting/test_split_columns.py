"""``u2a init``: which split the values of a column mean, and that there is always one to score on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from started import started, table

from u2a.cli.main import main
from u2a.starting.split_names import split_names

SPORTS = ("Weight Training", "Test Cricket")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(column: str, values: Sequence[str], count: int = 60) -> list[dict[str, Any]]:
    return [
        {"text": f"the boat number {i} is red", "label": "ab"[i % 2], column: values[i % len(values)]}
        for i in range(count)
    ]


@pytest.mark.parametrize("column", ["split", "Usage"])
@pytest.mark.parametrize(
    "values",
    [("train", "train", "test_seen", "test_unseen"), ("Training", "Training", "PublicTest", "PrivateTest")],
)
def test_splits_with_a_word_more_are_these_splits(column: str, values: Sequence[str]) -> None:
    recipe, rows, said = started(table("t.csv", rows_of(column, values)))
    assert [row["split"] for row in rows] == ["train", "train", "test", "test"] * 15
    assert recipe["data"]["holdout"] == 0.15
    assert f"{values[2]!r} and {values[3]!r} are taken for split test" in said
    assert "u2a report runs/n\n" in said


def test_what_is_beside_a_split_of_that_name_is_another_one() -> None:
    assert split_names(["Train", "dev", "test", "test_extra", "extra"]) == {
        "Train": "train",
        "dev": "val",
        "test": "test",
    }
    _, rows, _ = started(table("t.csv", rows_of("split", ("train", "test", "test_extra"))))
    assert Counter(row["split"] for row in rows) == {"train": 20, "test": 20, "test_extra": 20}


def test_train_is_divided_where_there_is_nothing_to_score_on() -> None:
    _, rows, said = started(table("t.csv", rows_of("split", ("train", "train", "extra"))))
    assert Counter(row["split"] for row in rows) == {"train": 28, "val": 6, "test": 6, "extra": 20}
    assert [i for i, row in enumerate(rows) if row["split"] == "extra"] == [*range(2, 60, 3)]
    assert "no split is test or val, which scores need: train is divided, and 'extra' left as it is" in said
    assert "--split train" not in said


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("how", ("train/{i}.x", "test/{i}.x")),
        ("how", ("by train", "by car")),
        ("subset", ("test drive", "city")),
    ],
)
def test_columns_that_speak_of_trains_are_no_splits(column: str, values: Sequence[str]) -> None:
    rows = rows_of(column, values, 16)
    rows = [{**row, column: row[column].format(i=i)} for i, row in enumerate(rows)]
    _, found, _ = started(table("t.csv", rows), "--label", "label")
    assert {row["split"] for row in found} == {"train", "val", "test"}


def test_run_says_that_it_scores_training_samples() -> None:
    started(table("t.csv", rows_of("split", ("train", "test"))), "--encoder", "text=u2a:quickstart/text")
    Path("n.manifest.jsonl").write_text(Path("n.manifest.jsonl").read_text().replace('"test"', '"train"'))
    words = ["run", "t.csv", "--name", "n", "--set", "training.epochs=1", "--set", "data.workers=0"]
    result = CliRunner().invoke(main, words)
    assert "scores of the training samples themselves" in result.output, result.output


def test_a_label_that_speaks_of_trains_and_tests_stays_the_label() -> None:
    labels, kinds = ("train-delay", "bus-test"), ("late", "early", "never")
    rows = [
        {"text": f"the boat {i} is red", "label": labels[i % 2], "kind": kinds[i % 3], "sport": SPORTS[i % 2]}
        for i in range(60)
    ]
    recipe, found, _ = started(table("t.csv", rows))
    assert recipe["task"]["classes"] == ["bus-test", "train-delay"]
    assert {row["split"] for row in found} == {"train", "val", "test"}
