"""Missing tables: exact, the same everywhere, bound to their data, and seen by training and evaluation."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from u2a.cli.main import main
from u2a.common.distributed import World
from u2a.data.reading.missing import Table, TableInfo, draw_kept, overlay
from u2a.data.reading.missing_files import read_table, write_tables
from u2a.data.reading.opening import evaluation_split
from u2a.errors import RecipeError, U2AError
from u2a.recipe.file import load_recipe
from u2a.training.indexed_data import IndexedData

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
NAMES = ("a", "b", "c", "d", "e")


def keys(n: int) -> list[str]:
    return [f"sample-{i}" for i in range(n)]


def draw(n: int, modalities: tuple[str, ...], rate: str, missing: str, seed: int = 0) -> np.ndarray:
    return draw_kept(keys(n), modalities, split="train", rate=Decimal(rate), missing=missing, seed=seed)


@given(
    n=st.integers(0, 300),
    m=st.integers(1, 5),
    thousandths=st.integers(0, 1000),
    missing=st.sampled_from(["first", "each", "any"]),
    seed=st.integers(0, 2**40),
    data=st.data(),
)
def test_a_table_is_exact_for_any_number_rate_and_modalities(n, m, thousandths, missing, seed, data) -> None:
    modalities = NAMES[:m]
    name = "a" if missing == "first" else missing
    kept_NM = draw(n, modalities, f"{thousandths / 1000:.3f}", name, seed)
    drawn = int(Fraction(thousandths, 1000) * n)
    lost_N = (~kept_NM).sum(1)
    assert kept_NM.shape == (n, m)
    assert kept_NM.dtype == bool
    assert (lost_N > 0).sum() == drawn
    if missing == "first":
        assert (~kept_NM[:, 0]).sum() == drawn
        assert kept_NM[:, 1:].all()
    if missing == "each":
        assert set(lost_N.tolist()) <= {0, 1}
        assert max((~kept_NM).sum(0)) - min((~kept_NM).sum(0)) <= 1
    if missing == "any" and m > 1:
        assert lost_N.max(initial=0) < m
    present_NM = np.array(data.draw(st.lists(st.integers(1, 2**m - 1), min_size=n, max_size=n)), np.int64)
    present_NM = (present_NM.reshape(n, 1) >> np.arange(m)) & 1 == 1
    after_NM = overlay(present_NM, kept_NM)
    assert after_NM.any(1).all()
    assert not (after_NM & ~present_NM).any()
    emptied_N = ~(present_NM & kept_NM).any(1)
    assert (after_NM[emptied_N] == present_NM[emptied_N]).all()
    assert (after_NM[~emptied_N] == (present_NM & kept_NM)[~emptied_N]).all()


def test_rates_are_decimal() -> None:
    assert (~draw(90, ("a", "b"), "0.7", "a")).sum() == 63  # floats give 62
    assert (~draw(10, ("a", "b"), "0.3", "a")).sum() == 3


def test_the_same_table_on_any_machine_and_in_any_order() -> None:
    kept_NM = draw(50, ("a", "b"), "0.5", "each", 3)
    ranked = sorted(
        keys(50), key=lambda key: hashlib.sha256(f"missing\x1f3\x1ftrain\x1f{key}".encode()).hexdigest()
    )
    expected = {key: ["a", "b"][place % 2] for place, key in enumerate(ranked[:25])}
    lost = {key: ("a", "b")[row.argmin()] for key, row in zip(keys(50), kept_NM, strict=True) if not row.all()}
    assert lost == expected
    back_NM = draw_kept(keys(50)[::-1], ("a", "b"), split="train", rate=Decimal("0.5"), missing="each", seed=3)
    assert (back_NM[::-1] == kept_NM).all()


def test_seed_and_split_change_the_table_and_rates_are_nested() -> None:
    assert (draw(200, ("a", "b"), "0.5", "a", 0) != draw(200, ("a", "b"), "0.5", "a", 1)).any()
    test = draw_kept(keys(200), ("a", "b"), split="test", rate=Decimal("0.5"), missing="a", seed=0)
    assert (draw(200, ("a", "b"), "0.5", "a", 0) != test).any()
    for missing in ("a", "each", "any"):
        small, large = (draw(200, ("a", "b", "c"), rate, missing) for rate in ("0.35", "0.7"))
        assert (small | ~large).sum() >= small.sum()
        assert not (~small & large).any()


def test_any_draws_every_proper_subset_about_equally() -> None:
    kept_NM = draw(6000, ("a", "b", "c"), "1", "any")
    counts = Counter(map(tuple, kept_NM.tolist()))
    assert len(counts) == 6
    assert all(850 < count < 1150 for count in counts.values())


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 90, "test": 30}
    return toys.make(tmp_path_factory.mktemp("missing"), checkpoints, counts=counts, shard_size=40)


def present(recipe_file: Path, split: str, *sets: str) -> np.ndarray:
    return evaluation_split(load_recipe(recipe_file, sets), split).present_NM


def run(*args: str) -> str:
    result = CliRunner().invoke(main, ["data", "mask", *args])
    assert result.exit_code == 0, result.output
    return result.output


def fails(*args: str) -> str:
    result = CliRunner().invoke(main, ["data", "mask", *args])
    assert result.exit_code == 2, result.output
    return result.output.strip()


def test_inline_and_file_are_the_same_and_the_file_says_what_it_is(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.safetensors"
    said = run(str(toy), "--rate", "0.7", "--missing", "both", "--seed", "5", "--out", str(out))
    assert "63 of 90 samples" in said
    assert "21 of 30 samples" in said
    inline = ["data.missing.rate=0.7", "data.missing.missing=both", "data.missing.seed=5"]
    for split in ("train", "test"):
        from_file = present(toy, split, f"data.missing.table={out}")
        assert (from_file == present(toy, split, *inline)).all()
        assert (~from_file).sum() == {"train": 63, "test": 21}[split]
    assert run(str(toy), "--rate", "0.7", "--missing", "both", "--seed", "5", "--out", str(out)) == said
    info = json.loads(
        run(str(toy), "--rate", "0.7", "--missing", "both", "--seed", "5", "--out", str(out), "--json")
    )
    train = info["splits"]["train"]
    assert {**train, "fingerprint": len(train["fingerprint"])} == {
        "rate": 0.7,
        "missing": "each",  # of two modalities both is another name for it
        "seed": 5,
        "fingerprint": 64,
        "samples": 90,
        "drawn": 63,
        "spared": 0,
        "presence": {"image": 31, "text": 32, "image + text": 27},
    }


def test_each_and_both_name_the_same_table(toy: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "each.safetensors", tmp_path / "both.safetensors"
    run(str(toy), "--rate", "0.7", "--missing", "each", "--out", str(out))
    run(str(toy), "--rate", "0.7", "--missing", "both", "--out", str(again))
    assert out.read_bytes() == again.read_bytes()
    for missing in ("each", "both"):
        sets = [f"data.missing.table={out}", "data.missing.rate=0.7", f"data.missing.missing={missing}"]
        assert (~present(toy, "train", *sets)).sum() == 63
    with pytest.raises(U2AError, match=r"data\.missing\.missing: the recipe says any, but .* with each"):
        present(toy, "train", *sets[:2], "data.missing.missing=any")


def test_the_default_file_name_holds_rate_kind_and_seed(toy: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(str(toy), "--rate", "0.35", "--missing", "text", "--seed", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["toy-missing-text-0.35-seed2.safetensors"]
    out = str(tmp_path / "toy-missing-text-0.35-seed2.safetensors")
    assert "holds another table" in fails(str(toy), "--rate", "0.7", "--missing", "text", "--out", out)


def test_a_changed_seed_never_keeps_an_old_table(toy: Path, tmp_path: Path) -> None:
    rate = "data.missing.rate=0.5"
    assert (present(toy, "train", rate, "seed=1") != present(toy, "train", rate, "seed=2")).any()
    pinned = [present(toy, "train", rate, "data.missing.seed=1", f"seed={seed}") for seed in (1, 2)]
    assert (pinned[0] == pinned[1]).all()
    out = tmp_path / "table.safetensors"
    run(str(toy), "--rate", "0.5", "--seed", "1", "--out", str(out))
    with pytest.raises(U2AError, match=r"data\.missing\.seed: the recipe says 2, but .* was drawn with 1"):
        present(toy, "train", f"data.missing.table={out}", "data.missing.seed=2")


def test_other_tables_for_training_and_test(toy: Path) -> None:
    sets = ["data.missing.train.rate=0.9", "data.missing.train.missing=text", "data.missing.test.rate=0.5"]
    assert (~present(toy, "train", *sets)).sum(0).tolist() == [0, 81]
    assert (~present(toy, "test", *sets)).sum(0).tolist() == [8, 7]
    assert present(toy, "train", "data.missing.test.rate=0.5").all()
    assert (~present(toy, "test", "data.missing.rate=0.1", "data.missing.train.rate=0.9")).sum() == 3
    assert (~present(toy, "train", "data.missing.rate=0.1", "data.missing.train.rate=0.9")).sum() == 81


def test_rate_zero_takes_nothing(toy: Path) -> None:
    for missing in ("text", "each", "any"):
        assert present(toy, "train", "data.missing.rate=0", f"data.missing.missing={missing}").all()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["data.missing.rate=1.5"], "data.missing.rate: Input should be less than or equal to 1"),
        (["data.missing.missing=text"], "data.missing: needs a rate, or a table"),
        (["data.missing.train.seed=1"], "data.missing.train: needs a rate, or a table"),
        (["data.missing.seed=1", "data.missing.test.rate=0.5"], "missing and seed need a rate beside them"),
        (["data.missing.rate=0.5", "data.missing.missing=txt"], "'txt' is none of image, text, each, any"),
    ],
)
def test_wrong_rules_are_refused(toy: Path, sets: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        present(toy, "train", *sets)
    assert message in str(caught.value)


def test_a_table_of_other_data_or_damage_is_refused(
    toy: Path, tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    out = tmp_path / "table.safetensors"
    run(str(toy), "--rate", "0.5", "--out", str(out), "--split", "train")
    table = f"data.missing.table={out}"
    other = toys.make(tmp_path / "other", checkpoints, counts={"train": 8}, shard_size=40)
    with pytest.raises(U2AError, match="was drawn for other data: split 'train'"):
        present(other, "train", table)
    with pytest.raises(U2AError, match="has no table for split 'test'"):
        present(toy, "test", table)
    with pytest.raises(U2AError, match="no such missing table"):
        present(toy, "train", f"data.missing.table={tmp_path / 'nowhere'}")
    out.write_bytes(out.read_bytes()[:-3])
    with pytest.raises(U2AError, match=r"table\.safetensors: not a missing table of format 1, or damaged"):
        present(toy, "train", table)


def test_samples_that_would_be_empty_are_spared_and_counted(
    tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    recipe = toys.make(
        tmp_path / "gaps", checkpoints, counts={"train": 16}, presence=lambda i: (i % 2 == 0, True)
    )
    said = run(str(recipe), "--rate", "1", "--missing", "text", "--out", str(tmp_path / "t.safetensors"))
    assert "16 of 16 samples; 8 keep what they have" in said
    assert (
        present(recipe, "train", "data.missing.rate=1", "data.missing.missing=text").tolist()
        == [
            [True, False],
            [False, True],
        ]
        * 8
    )


def test_training_sees_the_table(toy: Path) -> None:
    plain = IndexedData(load_recipe(toy), ALONE)
    assert plain.dropout
    masked = IndexedData(load_recipe(toy, ["data.missing.rate=0.7"]), ALONE)
    assert not masked.dropout
    assert masked.n_incomplete == 63
    assert masked.fingerprint != plain.fingerprint
    assert any("missing each at rate 0.7, seed 0: 63 of 90 samples" in line for line in masked.notices())
    places = [i for t in range(masked.plan.steps_per_epoch) for i in masked.plan.step(t).index_B]
    seen = torch.cat([masked.plan.step(t).present_BM for t in range(masked.plan.steps_per_epoch)])
    assert (seen.numpy() == masked.train.present_NM[places]).all()
    counts = []
    for batch in masked.loader(0, masked.plan.steps_per_epoch):
        counts.append(int(batch.present_BM[:, 1].sum()))
        assert ("text" in batch.inputs) == (counts[-1] > 0)
        assert not counts[-1] or len(batch.inputs["text"]["input_ids"]) == counts[-1]
    assert len(set(counts)) > 1


def test_a_rate_that_is_no_number_is_refused(toy: Path) -> None:
    result = CliRunner().invoke(main, ["data", "mask", str(toy), "--rate", "nan", "--missing", "text"])
    assert result.exit_code == 2
    assert "data.missing.rate: nan is not from 0 to 1" in result.output


def test_a_file_may_name_the_modalities_in_another_order(toy: Path, tmp_path: Path) -> None:
    split = evaluation_split(load_recipe(toy, ["data.missing.rate=0.5"]), "train")
    info = TableInfo(
        rate=0.5,
        missing="each",
        seed=0,
        fingerprint=split.fingerprint,
        samples=len(split),
        drawn=0,
        spared=0,
        presence={},
    )
    kept_NM = np.random.default_rng(0).random((len(split), 2)) < 0.5
    write_tables(tmp_path / "table.safetensors", ("text", "image"), {"train": Table(info, kept_NM)})
    assert split.modalities == ("image", "text")
    found = read_table(tmp_path / "table.safetensors", split)
    assert found.kept_NM.tolist() == kept_NM[:, ::-1].tolist()
