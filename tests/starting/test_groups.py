"""``u2a init``: whose samples stay together, by what the column says and not by how many it names."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from started import started, table


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(count: int, who: str, whom: Any, label: Any) -> list[dict[str, Any]]:
    return [
        {"text": f"the boat number {i} is red", who: f"S{whom(i)}", "label": f"sign {label(i)}"}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("people", "classes"), [(8, 3), (10, 30), (3, 2), (40, 2)], ids=["8of3", "10of30", "3of2", "40of2"]
)
@pytest.mark.parametrize("who", ["subject", "group"])
def test_people_are_never_parted_however_few(who: str, people: int, classes: int) -> None:
    rows = rows_of(people * classes * 4, who, lambda i: i % people, lambda i: i // people % classes)
    _, found, said = started(table("t.csv", rows))
    splits = defaultdict(set)
    for row in found:
        splits[row["group"]].add(row["split"])
    assert len(splits) == people
    assert all(len(one) == 1 for one in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}
    assert f"samples of one {who!r} and equal files stay together" in said


def test_patients_who_have_one_diagnosis_each_are_never_parted() -> None:
    _, found, _ = started(table("t.csv", rows_of(60, "patient", lambda i: i % 6, lambda i: i % 2)))
    assert len({(row["group"], row["split"]) for row in found}) == 6


@pytest.mark.parametrize(
    ("whom", "why"),
    [
        (lambda i: i // 30, "it names 2, too few to fill train, val and test"),
        (lambda i: i % 6 // 2, "6 of 6 classes have samples of fewer than 3"),
        (lambda i: i % 6 if i % 6 else i % 4, "6 of 6 classes have samples of fewer than 3"),
    ],
)
def test_where_groups_cannot_be_kept_together_it_says_why(whom: Any, why: str) -> None:
    _, found, said = started(table("t.csv", rows_of(60, "speaker", whom, lambda i: i % 6)))
    assert f"samples of one 'speaker' are not kept together: {why}" in said
    assert "group" not in found[0]
    assert {row["split"] for row in found if row["label"] == "sign 1"} == {"train", "val", "test"}


def test_a_column_called_group_may_be_the_label() -> None:
    rows = rows_of(60, "group", lambda i: i % 3, lambda i: i % 2)
    _, found, said = started(table("t.csv", rows), "--label", "group")
    assert "kept together" not in said
    assert {(row["label"], row["split"]) for row in found} == {
        (label, split) for label in ("S0", "S1", "S2") for split in ("train", "val", "test")
    }


def test_groups_that_would_leave_test_without_a_class_are_parted() -> None:
    rows = [
        {
            "text": f"the boat number {i} is red",
            "subject": f"T{i % 2 if i % 2 else 1 + i % 7}",
            "label": "yn"[i % 2],
        }
        for i in range(200)
    ]
    _, found, said = started(table("t.csv", rows))
    assert "samples of one 'subject' are not kept together: 1 of 2 classes have samples of fewer than 3" in said
    assert {(row["split"], row["label"]) for row in found} == {
        (split, label) for split in ("train", "val", "test") for label in "yn"
    }


def test_classes_that_groups_keep_out_of_a_split_are_told() -> None:
    rows = rows_of(200, "speaker", lambda i: i % 8, lambda i: i // 8 % 2)
    rows += [{"text": f"a red boat {i}", "speaker": "S1", "label": "rare"} for i in range(12)]
    _, found, said = started(table("t.csv", rows))
    where = {row["split"] for row in found if row["label"] == "rare"}
    assert len(where) == 1
    for split in {"val", "test"} - where:
        assert f"{split} has no sample of rare\n" in said
