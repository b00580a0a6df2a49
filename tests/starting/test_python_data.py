"""``u2a.pack`` on what programs hold: frames with other columns, torch data sets, labels of any type."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import u2a
from u2a.data.reading.opening import open_recipe_split
from u2a.recipe.file import as_recipe

CLASSES = ("red", "old")
TEXTS = [{"text": f"the boat number {i}", "label": CLASSES[i % 2]} for i in range(12)]


@pytest.fixture
def packed(tmp_path: Path, checkpoints: dict[str, Path]) -> Callable[..., Counter[str]]:
    """Packs for some modalities; samples by label."""

    def pack(data: Any, *modalities: str, **how: Any) -> Counter[str]:
        encoders = {"text": "bert", "image": "clip", "audio": "ast"}
        recipe = {
            "name": "held",
            "data": {"shards": str(tmp_path / "shards")},
            "task": {"classes": list(CLASSES)},
            "modalities": {m: {"encoder": str(checkpoints[encoders[m]])} for m in modalities or ("text",)},
        }
        summary = u2a.pack(data, recipe, root=tmp_path, **how)
        return sum((split.labels for split in summary.values()), Counter())

    return pack


HALF = Counter(red=6, old=6)


@pytest.mark.parametrize("name", [0, ("a", "b"), "vector", 2.5])
def test_columns_beside_are_left_out_whatever_they_are_called_and_hold(packed: Any, name: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TEXTS)
    for value in (np.ones(4), pandas.Series([1, 2]), torch.ones(3)):
        frame[pandas.Index([name], tupleize_cols=False)[0]] = [value] * 12
        assert packed(frame, overwrite=True) == HALF
        assert packed(frame.to_dict("records"), overwrite=True) == HALF


class Around(torch.utils.data.Dataset):
    """Knows how many samples it has, and gives one for any number."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> dict[str, Any]:
        assert place < 1000
        return TEXTS[place % 12]


class Located(Around):
    """Says by a KeyError that there are no more."""

    def __getitem__(self, place: int) -> dict[str, Any]:
        return dict(enumerate(TEXTS))[place]


@pytest.mark.parametrize("kind", [Around, Located])
def test_a_torch_data_set_is_as_long_as_it_says(packed: Any, kind: type) -> None:
    assert packed(kind()) == HALF
    assert packed(torch.utils.data.Subset(kind(), range(4)), overwrite=True) == Counter(red=2, old=2)


SHAPES: dict[str, Callable[[str], Any]] = {
    "array": lambda label: np.array([label]),
    "array of objects": lambda label: np.array([label], dtype=object),
    "tuple": lambda label: (label,),
    "set": lambda label: {label},
    "tensor": lambda label: torch.tensor([CLASSES.index(label)]),
}


@pytest.mark.parametrize("column", ["label", "labels"])
@pytest.mark.parametrize("shape", SHAPES)
def test_labels_are_lists_of_any_type(packed: Any, column: str, shape: str) -> None:
    assert packed([{"text": row["text"], column: SHAPES[shape](row["label"])} for row in TEXTS]) == HALF


UNREADABLE = {
    "no picture": {"image": np.zeros((4, 4, 4, 3), np.uint8)},
    "no text": {"text": ["a", "list"]},
    "no label": {"label": {"red": 1}},
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_wrong_with_every_row_is_said(packed: Any, kind: str) -> None:
    row = UNREADABLE[kind]
    with pytest.raises(u2a.U2AError, match=rf"^data: line 1: .*{next(iter(row))}.* \(and 11 more lines"):
        packed([{"label": "red", **given, **row} for given in TEXTS], "text", "image")


def test_samples_that_belong_together_are_not_divided(packed: Any) -> None:
    with pytest.raises(
        u2a.U2AError, match=r"one 'group', or the same files in all.* give each sample a 'split'"
    ):
        packed([{**row, "group": "one"} for row in TEXTS])


def test_files_as_datasets_gives_them(packed: Any, tmp_path: Path) -> None:
    picture = tiny.image_bytes(tiny.picture(24, 20, 1))
    (tmp_path / "p.png").write_bytes(tiny.image_bytes(tiny.picture(24, 20, 2)))
    given: list[dict[str, Any]] = [
        {"image": {"bytes": picture, "path": None}},
        {"image": {"bytes": None, "path": "p.png"}},
        {"image": [{"bytes": bytearray(picture), "path": "other.png"}]},
        {"image": {"bytes": None, "path": None}, "audio": (tiny.tone(), 16000)},
        {"image": picture, "audio": {"array": None, "sampling_rate": None, "path": None}},
        {"audio": {"array": tiny.tone(), "sampling_rate": 16000, "path": None}},
        {"audio": {"array": tiny.tone(hertz=900), "sampling_rate": 16000, "path": "x.wav"}},
    ]
    rows = [{**one, "label": CLASSES[i % 2], "split": "train"} for i, one in enumerate(given)]
    assert packed(rows, "image", "audio") == Counter(red=4, old=3)


@pytest.mark.parametrize("data", [None, 5, "rows", {"text": "a boat"}, [None], [*TEXTS, ()]])
def test_what_is_no_data_is_refused(packed: Any, data: Any) -> None:
    with pytest.raises(u2a.U2AError, match=r"data must be a data frame or a list|every sample must be a dict"):
        packed(data)


def test_what_pandas_reads_of_nested_lists(tmp_path: Path, checkpoints: dict[str, Path], packed: Any) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("u2a_plugin_features")
    vectors = [[[i, 0.5, 2.0], [1.0, i, 3.0]] for i in range(12)]
    pictures = [[{"bytes": tiny.image_bytes(tiny.picture(24, 20, i)), "path": None}] for i in range(12)]
    frame = pandas.DataFrame(TEXTS).assign(vectors=vectors, image=pictures, split="train")
    frame.to_parquet(tmp_path / "t.parquet")
    read = pandas.read_parquet(tmp_path / "t.parquet")
    assert packed(read.drop(columns="vectors"), "image") == HALF
    recipe = {
        "name": "held",
        "data": {"shards": str(tmp_path / "vectors")},
        "task": {"classes": list(CLASSES)},
        "modalities": {"vectors": {"kind": "features", "size": 3, "longest": 2}},
    }
    u2a.pack(read, recipe)
    split = open_recipe_split(as_recipe(recipe), "train")
    members = [np.load(io.BytesIO(split.members(i, ["vectors"])["vectors"])) for i in range(12)]
    assert [member.tolist() for member in members] == vectors
