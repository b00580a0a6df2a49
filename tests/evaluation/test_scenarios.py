"""Sweeps, kept shares and zero filling: `u2a eval`'s scenarios."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import four
import pytest
import torch

from u2a.data.reading.missing import draw_kept
from u2a.errors import U2AError
from u2a.evaluation import trained as api
from u2a.evaluation.metrics import scores
from u2a.evaluation.scenarios import (
    count_kept,
    keep_mask,
    parse_shares,
    patterns,
    ranks,
    sweep,
    without_mask_tokens,
)
from u2a.evaluation.scoring import Scorer, classify
from u2a.method.selection import subsets


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> str:
    folder = tmp_path_factory.mktemp("scenarios")
    return str(four.train(four.make(folder, checkpoints, gaps=True), folder / "run"))


def evaluated(*args: str) -> dict:
    return json.loads(four.invoke("eval", *args, "--json"))


# --- sweep ---


def test_sweep_equals_separate_drop_runs_exactly(run: str):
    swept = evaluated(run, "--sweep")["patterns"]
    assert [p["dropped"] for p in swept][:2] == [[], ["plot"]]
    assert len({tuple(p["dropped"]) for p in swept}) == 15
    for pattern in swept[::4]:
        drop = ["--drop", ",".join(pattern["dropped"])] if pattern["dropped"] else []
        alone = evaluated(run, *drop)
        assert {key: alone[key] for key in pattern} == pattern


def test_sweep_leaves_out_and_counts_the_samples_that_a_pattern_empties(run: str):
    swept = {tuple(p["dropped"]): p for p in evaluated(run, "--sweep")["patterns"]}
    assert (swept[()]["n"], swept[()]["n_empty"]) == (20, 0)
    assert (swept["left",]["n"], swept["left",]["n_empty"]) == (15, 5)
    model = api.load(run)
    encoded = model.encode()
    rest_N = encoded.present_NM[:, 1:].any(1)
    logits_NC = classify(model.network, encoded, encoded.present_NM)[rest_N]
    assert swept["left",]["complete"] == scores(logits_NC, encoded.target[rest_N], model.recipe.task)
    target = torch.full((20,), 2)
    target[rest_N.nonzero()[:8, 0]] = 1  # 8 of the 15 that remain, 8 of all 20
    scorer = Scorer(model.network, replace(encoded, target=target), model.recipe.task)
    assert scorer.drop(["left"]).majority == pytest.approx(8 / 15)
    assert scorer.drop().majority == pytest.approx(12 / 20)


def test_sweep_table_shows_a_dot_for_every_modality(run: str):
    text = four.invoke("eval", run, "--sweep")
    assert text.count("●") == 32
    assert text.count("○") == 28 + 4  # the last row is chance


def test_the_last_row_of_a_sweep_is_the_most_frequent_class(run: str):
    target = api.load(run).encode().target
    text = four.invoke("eval", run, "--sweep")
    row = next(line for line in text.splitlines() if "(always" in line)  # a narrow terminal wraps its words
    assert f"{float(target.bincount().max()) / len(target):.4f}" in row
    assert (
        " ".join(text[text.index("(always") : text.index("squared error of")].split())
        == "(always the most frequent class)"
    )  # it is the last one


def test_rates_weigh_the_accuracies_of_a_sweep(run: str):
    """Exact: each pattern's right answers, as often as it comes, over all samples that have something left."""
    rates = {"left": 0.25, "right": 0.5, "title": 0.0, "plot": 0.1}
    found = evaluated(run, "--rates", "left=0.25,right=0.5,plot=0.1")
    right = scored = 0.0
    for pattern in evaluated(run, "--sweep")["patterns"]:
        chance = 1.0
        for name, rate in rates.items():
            chance *= rate if name in pattern["dropped"] else 1 - rate
        right += chance * pattern["n"] * pattern["scores"]["accuracy"]
        scored += chance * pattern["n"]
    assert found["metric"] == "accuracy"
    assert found["score"] == pytest.approx(right / scored)
    assert found["nothing_left"] == pytest.approx(1 - scored / found["n"])
    text = four.invoke("eval", run, "--rates", "left=0.25,right=0.5,plot=0.1")
    assert f"expected accuracy {found['score']:.4f} (95 % interval" in text
    assert "95 %, all patterns together" in text
    assert "use it without" in four.invoke("eval", run, "--rates", "left=0.2", "--sweep", code=2)
    assert "--rates depth=0.2: no such modality" in four.invoke("eval", run, "--rates", "depth=0.2", code=2)


def test_sweep_refuses_drop_and_keep(run: str):
    assert "every pattern" in four.invoke("eval", run, "--sweep", "--drop", "left", code=2)


def test_patterns_are_all_subsets_up_to_six_modalities():
    for M in range(1, 7):
        assert patterns(M) == subsets(M)


def test_beyond_six_modalities_a_seeded_sample_holds_the_patterns_that_matter():
    found = patterns(9, seed=1)
    assert len(found) == len(set(found)) == 63
    assert found == patterns(9, seed=1) != patterns(9, seed=2)
    assert found[0] == (True,) * 9
    sizes = [sum(p) for p in found]
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes.count(8), sizes.count(1)) == (9, 9)


def test_patterns_without_any_sample_are_not_scored(run: str):
    model = api.load(run)
    encoded = model.encode()
    encoded.present_NM[:, 2] = False
    dropped = [s.dropped for s in sweep(model.network, encoded, model.recipe.task)]
    assert len(dropped) == 14
    assert ("left", "right", "plot") not in dropped


# --- without mask tokens ---


def test_without_mask_tokens_a_missing_modality_selects_zeros(run: str):
    model = api.load(run)
    encoded = model.encode()
    present_NM = encoded.present_NM & torch.tensor([True, False, True, False])
    filled = classify(model.network, without_mask_tokens(encoded), present_NM)
    fused_ND = (encoded.cls_NMD * present_NM[:, :, None]).sum(1)
    torch.testing.assert_close(filled, model.network.head(fused_ND).detach())
    assert not torch.allclose(filled, classify(model.network, encoded, present_NM))


def test_without_mask_tokens_on_the_command_line(run: str):
    with_tokens, without = (
        evaluated(run, "--drop", "left", *extra) for extra in ([], ["--without-mask-tokens"])
    )
    assert (with_tokens["mask_tokens"], without["mask_tokens"]) == (True, False)
    assert with_tokens["scores"] != without["scores"]


# --- keep ---

KEYS = [f"sample {i}" for i in range(90)]
ALL = torch.ones(90, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("share", "n", "kept"), [("0.7", 90, 63), ("0.5", 3, 2), ("0.25", 10, 3), ("0.3", 7, 3)]
)
def test_counts_are_exact_decimals(share: str, n: int, kept: int):
    assert count_kept(Decimal(share), n) == kept


@pytest.mark.parametrize("n", [1, 7, 10, 90])
def test_keeping_a_share_leaves_as_many_as_a_missing_table_of_the_rest(n: int):
    for share in map(Decimal, ("0", "0.05", "0.25", "0.3", "0.5", "0.7", "0.95", "1")):
        left_NM = draw_kept(KEYS[:n], ["a", "b"], split="test", rate=1 - share, missing="a", seed=0)
        assert count_kept(share, len(left_NM)) == left_NM[:, 0].sum(), share


def test_keep_takes_the_share_of_those_that_have_the_modality():
    present_NM = ALL.clone()
    present_NM[:30, 1] = False
    kept_NM = keep_mask(KEYS, ("a", "b"), present_NM, {"b": Decimal("0.3")})
    assert kept_NM[:, 0].all()
    assert (kept_NM & present_NM)[:, 1].sum() == 18


def test_smaller_shares_are_nested_in_larger_ones():
    masks = [keep_mask(KEYS, ("a", "b"), ALL, {"b": Decimal(x) / 10})[:, 1] for x in range(11)]
    assert [int(mask.sum()) for mask in masks] == list(range(0, 91, 9))
    for small, large in itertools.pairwise(masks):
        assert (small <= large).all()


def test_the_choice_depends_on_key_seed_and_modality_not_on_order():
    chosen = ranks(KEYS, "b", ALL[:, 1])
    backwards = ranks(KEYS[::-1], "b", ALL[:, 1])
    assert torch.equal(chosen, backwards.flip(0))
    assert not torch.equal(chosen, ranks(KEYS, "b", ALL[:, 1], seed=1))
    assert not torch.equal(chosen, ranks(KEYS, "a", ALL[:, 1]))
    # The same on every machine: SHA-256 of "keep", seed, modality and key.
    assert chosen[:5].tolist() == [77, 54, 32, 23, 48]


def test_a_modality_is_not_both_dropped_and_kept(run: str):
    told = four.invoke("eval", run, "--drop", "plot", "--keep", "plot=0.4", code=2)
    assert "plot is both dropped and kept" in told


def test_keep_on_the_command_line_lies_between_complete_and_dropped(run: str):
    kept = evaluated(run, "--keep", "plot=0.4")
    assert (kept["kept"], kept["n"], kept["n_empty"]) == ({"plot": 0.4}, 20, 0)
    assert evaluated(run, "--keep", "plot=1")["scores"] == evaluated(run)["scores"]
    assert evaluated(run, "--keep", "plot=0")["scores"] == evaluated(run, "--drop", "plot")["scores"]
    assert evaluated(run, "--keep", "left=0.5", "--drop", "right")["dropped"] == ["right"]
    assert "plot kept in 0.4" in four.invoke("eval", run, "--keep", "plot=0.4")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("plot", "expected MODALITY=SHARE"),
        ("=0.3", "expected MODALITY=SHARE"),
        ("depth=0.3", "no such modality"),
        ("plot=1.01", "from 0 to 1"),
        ("plot=nan", "from 0 to 1"),
        ("plot=some", "from 0 to 1"),
    ],
)
def test_keep_refuses_in_one_line(value: str, message: str):
    with pytest.raises(U2AError, match=message):
        parse_shares("--keep", [value], ("left", "plot"), "share")


def test_keep_refuses_a_second_share_of_a_modality():
    with pytest.raises(U2AError, match=r"--keep plot=0\.9: plot has the share 0\.3 already; give one$"):
        parse_shares("--keep", ["plot=0.3", "left=0.3", "plot=0.9"], ("left", "plot"), "share")


def test_a_large_split_is_scored_as_a_small_one(run: str):
    model = api.load(run)
    encoded = model.encode()
    many = torch.arange(2500) % len(encoded.present_NM)
    whole = replace(
        encoded,
        **{name: value[many] for name, value in vars(encoded).items() if isinstance(value, torch.Tensor)},
    )
    present_NM = encoded.present_NM & torch.tensor([True, False, True, True])
    torch.testing.assert_close(
        classify(model.network, whole, present_NM[many]), classify(model.network, encoded, present_NM)[many]
    )
    none = replace(
        encoded, **{name: value[:0] for name, value in vars(encoded).items() if isinstance(value, torch.Tensor)}
    )
    assert classify(model.network, none, present_NM[:0]).shape == (0, 4)


# --- how the encoders are asked ---


def test_evaluation_and_prediction_ask_the_encoders_without_dropout_and_gradients(run: str):
    model, asked = api.load(run), set()
    for module in model.network.modules():
        module.register_forward_hook(
            lambda module, *_: asked.add((module.training, torch.is_inference_mode_enabled()))
        )
    model.encode()
    model.predict({"title": "the old sea"})
    assert asked == {(False, True)}
