"""How a split's missing table is drawn and told of: from the split's own name, for any names of modalities."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from u2a.data.reading.missing import Table, count_presence, draw_table
from u2a.data.reading.missing_files import read_table, write_tables
from u2a.errors import RecipeError, U2AError


@dataclass
class Split:
    """As much of a split as a table is drawn from."""

    modalities: tuple[str, ...] = ("a", "b")
    name: str = "train"
    n: int = 40
    fingerprint: str = "f" * 64
    present_NM: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.present_NM = np.ones((self.n, len(self.modalities)), bool)

    def __len__(self) -> int:
        return self.n

    def keys(self) -> list[str]:
        return [f"sample-{i}" for i in range(self.n)]


def draw(split: Any, missing: str, rate: float = 0.5) -> Table:
    return draw_table(split, rate=rate, missing=missing, seed=3)


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_splits_name_decides_with_the_seed_and_the_keys(name: str) -> None:
    split = Split(name=name)
    ranked = sorted(
        split.keys(), key=lambda k: hashlib.sha256(f"missing\x1f3\x1f{name}\x1f{k}".encode()).digest()
    )
    lost = {key for key, kept in zip(split.keys(), draw(split, "a").kept_NM[:, 0], strict=True) if not kept}
    assert lost == set(ranked[:20])


def test_any_of_two_modalities_is_no_division_into_halves() -> None:
    table, halves = draw(Split(n=400), "any", 1), draw(Split(n=400), "each", 1)
    assert (table.kept_NM.sum(1) == 1).all()
    assert halves.kept_NM[:, 0].sum() == 200 != table.kept_NM[:, 0].sum()
    assert 150 < table.kept_NM[:, 0].sum() < 250


def test_one_modality_cannot_go_missing() -> None:
    table = draw(Split(("a",)), "any")
    assert (table.info.drawn, table.info.spared) == (20, 20)


def test_a_modality_may_be_called_both() -> None:
    table = draw(Split(("both", "b")), "both")
    assert table.info.missing == "both"
    assert (~table.kept_NM).sum(0).tolist() == [20, 0]


@pytest.mark.parametrize("rate", [-0.1, 1.01, float("nan")])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(RecipeError, match=r"data\.missing\.rate: .* is not from 0 to 1"):
        draw(Split(), "a", rate)


def test_a_person_reads_the_draw_and_what_is_left_the_most_frequent_first() -> None:
    split = Split(n=10)
    split.present_NM[:3, 1] = False
    split.present_NM[9, 0] = False
    table = draw(split, "a", 1)
    assert table.info.lines("train") == [
        "train: missing a at rate 1, seed 3: 10 of 10 samples; 3 keep what they have, or nothing would remain",
        "         7  b",
        "         3  a",
    ]
    assert draw(Split(n=4), "b", 0.5).info.lines("val") == [
        "val: missing b at rate 0.5, seed 3: 2 of 4 samples",
        "         2  a",
        "         2  a + b",
    ]
    read = table.info.model_copy(
        update={"presence": {"b": 2, "c": 1, "a": 2, "d": 5}}
    )  # as a file may have them
    assert [line.split()[1] for line in read.lines("train")[1:]] == ["d", "a", "b", "c"]


def test_what_samples_have_is_counted_the_most_frequent_first() -> None:
    present_NM = np.array([[0, 1], [1, 0], [1, 1], [1, 0]], bool)
    found = count_presence(present_NM, ("a", "b"))
    assert next(iter(found)) == "a"
    assert found == {"a": 2, "b": 1, "a + b": 1}


def test_both_is_a_word_for_two_modalities_alone() -> None:
    assert (draw(Split(), "both", 0.5).kept_NM == draw(Split(), "each", 0.5).kept_NM).all()
    with pytest.raises(RecipeError, match="'both' is none of a, b, c, each, any"):
        draw(Split(("a", "b", "c")), "both", 0.5)


def test_a_table_for_other_modalities_or_data_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    write_tables(path, ("a", "b"), {"train": draw(Split(), "a")})
    with pytest.raises(
        U2AError, match=r"table\.safetensors: was drawn for modalities a, b, .* recipe has b, c$"
    ):
        read_table(path, Split(("b", "c")))  # type: ignore[arg-type]
    with pytest.raises(U2AError, match=r"table\.safetensors: was drawn for other data: split 'train'"):
        read_table(path, Split(fingerprint="0" * 64))  # type: ignore[arg-type]
