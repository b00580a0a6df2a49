"""``u2a init`` on folders with tables of splits: each table is read, or named as one that is not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from started import refused, started, table


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows_of(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": i, "text": f"boat {i} is red", "label": "ab"[i % 2]} for i in range(first, first + count)]


def test_all_tables_of_a_split_are_read_and_what_they_share_once() -> None:
    names = {
        "train": (0, 40),
        "dev_seen": (40, 10),
        "dev_unseen": (45, 12),
        "test_seen": (60, 20),
        "test_unseen": (80, 20),
    }
    for name, place in names.items():
        table(f"d/{name}.jsonl", rows_of(*place))
    _, rows, said = started("d")
    assert Counter(row["split"] for row in rows) == {"train": 40, "val": 17, "test": 40}
    assert sorted(int(row["key"]) for row in rows) == [*range(57), *range(60, 100)]
    assert "dev_seen.jsonl and dev_unseen.jsonl are read as split val" in said
    assert "test_seen.jsonl and test_unseen.jsonl are read as split test" in said
    assert "5 rows that several tables of one split have are read once" in said


def test_rows_that_one_table_repeats_are_kept() -> None:
    table("d/train.jsonl", rows_of(0, 40))
    table("d/test_a.jsonl", [*rows_of(40, 6), *rows_of(40, 6)])
    table("d/test_b.jsonl", rows_of(50, 6))
    _, rows, _ = started("d")
    assert Counter(row["split"] for row in rows) == {"train": 40, "test": 18}


def test_tables_that_are_not_read_are_named() -> None:
    table("d/data/train.csv", rows_of(0, 40))
    table("d/data/test.csv", rows_of(40, 20))
    table("d/data/test_labels.csv", rows_of(40, 20))
    table("d/data/train_old.csv", rows_of(0, 30))
    table("d/data/val_sizes.csv", [{"id": 1, "width": 7}])
    Path("d/data/dev_notes.json").write_text("{")
    _, rows, said = started("d")
    assert Counter(row["split"] for row in rows) == {"train": 40, "test": 20}
    for name in ("test_labels.csv", "train_old.csv", "val_sizes.csv", "dev_notes.json"):
        assert name in next(
            line for line in said.splitlines() if line.startswith("tables beside these are not read")
        )


def test_tables_that_do_not_fit_together_are_refused() -> None:
    table("d/train_texts.csv", [{"id": i, "text": f"boat {i} is red"} for i in range(20)])
    table("d/train_labels.csv", [{"id": i, "label": "ab"[i % 2]} for i in range(20)])
    assert "name its table: u2a init d/train_labels.csv" in refused("d")
    table("e/train.csv", rows_of(0, 20))
    table("e/test.csv", rows_of(20, 20))
    table("e/test.jsonl", rows_of(20, 20))
    assert "name its table: u2a init e/test.csv" in refused("e")
