"""``u2a init`` on folders of Hugging Face data sets: what is missing, twice, or not read is said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from started import pictures, refused, started


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parquet(path: str, first: int, count: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    rows = [{"text": f"boat {i} is red", "label": "ab"[i % 2]} for i in range(first, first + count)]
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_configurations_beside_each_other_are_never_joined() -> None:
    for name, count in (("full", 30), ("small", 10)):
        parquet(f"d/{name}/train-00000-of-00001.parquet", 0, count)
        parquet(f"d/{name}/test-00000-of-00001.parquet", 100, 10)
    said = refused("d")
    assert "holds several data sets (full and small), each with a split" in said
    assert "u2a init d/small" in said
    _, rows, _ = started("d/full")
    assert Counter(row["split"] for row in rows) == {"train": 30, "test": 10}


def test_splits_in_folders_of_their_own_are_one_data_set() -> None:
    parquet("d/train/0000.parquet", 0, 30)
    parquet("d/test/0000.parquet", 100, 10)
    parquet("d/validation-00000-of-00001.parquet", 200, 10)
    _, rows, said = started("d")
    assert Counter(row["split"] for row in rows) == {"train": 30, "val": 10, "test": 10}
    assert "not there" not in said
    assert "left out" not in said


def test_files_that_are_missing_or_not_read_are_told() -> None:
    for name, first, count in (
        ("train-00000-of-00003", 0, 20),
        ("train-00002-of-00003", 20, 20),
        ("test-00000-of-00001-0a1b2c3d4e5f6071", 40, 10),
        ("holdout-00000-of-00001", 50, 10),
    ):
        parquet(f"d/data/{name}.parquet", first, count)
    _, rows, said = started("d")
    assert Counter(row["split"] for row in rows) == {"train": 40, "test": 10}
    assert "of 3 files of train 1 are not there (train-00001-of-00003)" in said
    assert "of 1 files" not in said
    assert "1 files name no split and are left out (data/holdout-00000-of-00001.parquet)" in said


def test_metadata_as_parquet_describes_the_files_beside_it() -> None:
    for split, count in (("train", 30), ("test", 10)):
        pictures(*(f"d/{split}/{i}.png" for i in range(count)))
        rows = [{"file_name": f"{i}.png", "label": "ab"[i % 2]} for i in range(count)]
        pq.write_table(pa.Table.from_pylist(rows), f"d/{split}/metadata.parquet")
    _, rows, _ = started("d")
    assert Counter((row["split"], row["image_path"].split("/")[0]) for row in rows) == {
        ("train", "train"): 30,
        ("test", "test"): 10,
    }


MNLI = ("train", "validation_matched", "validation_x")


@pytest.mark.parametrize(("inside", "splits"), [(("en", "fr"), 3), (MNLI, 2)])
def test_what_save_to_disk_wrote_is_one_data_set(inside: tuple[str, ...], splits: int) -> None:
    for number, name in enumerate(inside):
        rows = [{"text": f"{name} boat {i} is red", "label": "ab"[i % 2]} for i in range(30)]
        written = pa.Table.from_pylist(rows)
        Path("d", name).mkdir(parents=True)
        with pa.ipc.new_stream(f"d/{name}/data-0000{number}-of-00003.arrow", written.schema) as stream:
            stream.write_table(written)
    Path("d/dataset_dict.json").write_text(json.dumps({"splits": list(inside)}))
    _, found, _ = started("d")
    assert len({row["split"] for row in found}) == splits
    assert len(found) == 30 * len(inside)
