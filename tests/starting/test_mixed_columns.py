"""``u2a init`` on exports of annotation tools: a name that is a value in some rows and an object in others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from started import refused, started, table


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(rows: list[dict[str, Any]]) -> str:
    Path("t.json").write_text(json.dumps([{"text": f"boat {i} is red", **row} for i, row in enumerate(rows)]))
    return "t.json"


@pytest.mark.parametrize("inside", [False, True])
def test_choices_are_a_list_of_labels_where_one_alone_is_a_text(inside: bool) -> None:
    cells = [{"choices": ["a", "b"]} if i % 3 == 0 else "ab"[i % 2] for i in range(24)]
    rows = [{"done": {"choice": cell}} if inside else {"choice": cell} for cell in cells]
    recipe, found, said = started(written(rows), "--label", "done.choice" if inside else "choice")
    assert recipe["task"] == {"kind": "multi_label", "classes": ["a", "b"]}
    assert [row["labels"] for row in found] == [
        cell["choices"] if isinstance(cell, dict) else [cell] for cell in cells
    ]
    assert "left out" not in said


def test_choices_everywhere_are_a_column_as_before() -> None:
    recipe, found, _ = started(
        written([{"choice": {"choices": ["a", "b"] if i % 2 else ["a"]}} for i in range(24)])
    )
    assert recipe["task"]["kind"] == "multi_label"
    assert len(found) == 24


def test_a_label_that_is_an_object_in_some_rows_is_refused() -> None:
    path = written([{"label": {"name": "ab"[i % 2]} if i % 3 == 0 else "ab"[i % 2]} for i in range(24)])
    for label in ("label", "label.name"):
        assert "16 rows hold a value in 'label' and others an object (label.name)" in refused(
            path, "--label", label
        )
    _, found, _ = started(path, "--label", "label", "--ignore", "label.name")
    assert len(found) == 16


def test_rows_of_several_annotations_are_told() -> None:
    one = [{"result": [{"choice": "a"}]}, {"result": [{"choice": "b"}]}]
    rows = [{"annotations": one if i % 4 == 0 else [one[i % 2]]} for i in range(24)]
    _, found, said = started(written(rows))
    assert len(found) == 18
    assert (
        "6 rows hold several 'annotations' and others an object: they have none of 'annotations.result.choice'"
        in said
    )


def test_other_columns_of_two_kinds_are_told_and_empty_objects_are_empty() -> None:
    rows = [
        {"label": "ab"[i % 2], "by": "me" if i < 3 else {"name": f"n{i}"}, "meta": {} if i % 2 else {"a": 1}}
        for i in range(24)
    ]
    _, found, said = started(written(rows))
    assert len(found) == 24
    assert "3 rows hold a value in 'by' and others an object: they have none of its fields (by.name)" in said
    assert "'meta' and" not in said


def test_a_dot_in_a_name_makes_no_object() -> None:
    rows = [
        {"text": f"the boat {i} is red", "label": "ab"[i % 2], "label.1": "ab"[i % 2], "text.lang": "en"}
        for i in range(20)
    ]
    recipe, found, said = started(table("t.csv", rows))
    assert recipe["task"]["classes"] == ["a", "b"]
    assert len(found) == 20
    assert "an object" not in said
