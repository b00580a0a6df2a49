"""The golden step: u2a's own training, from shards through `Trainer.fit`, against `reference.py` in float64.

Three optimizer steps (one an epoch) over the warm-up's edge, for every switch that changes a number. Losses,
clipped gradients and weights of every step agree to 1e-9, and each switch is seen to change what it should.
Every switch of the recipe is written out in `golden.py`, so that no default takes part.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import (
    MODEL,
    THREE,
    TRAINING,
    A,
    B,
    assert_same_steps,
    expect,
    method_of,
    settings,
    train,
    train_only,
    write_recipe,
)
from golden_plugin import frozen_weights
from reference import Sample, drop_modalities, place_of

Case = dict[str, Any]


def training(**switches: Any) -> Case:
    return {"training": {**TRAINING, **switches}}


def model(**switches: Any) -> Case:
    return {"model": {**MODEL, **switches}}


PER_MODALITY = {"fusion": "per_modality", "read_out": "both", "proxy_rank": 2}
FACTORS = {"lora": 0.5, "encoder": 9.0, "mask_tokens": 2.0, "projection": 3.0, "proxies": 0.7, "head": 0.2}

#: Each switch, or a few that meet: what differs from `BASE`.
CASES: dict[str, Case] = {
    "base": {},
    "lambda": training(alignment_weight=0.7),
    "lambda-0": training(alignment_weight=0.0),
    "detach": training(detach_target=True),
    "exhaustive": training(modality_dropout="exhaustive"),
    "random": training(modality_dropout="random"),
    "auto-complete": training(modality_dropout="auto"),
    "auto-missing": {"data": "gaps", **training(modality_dropout="auto")},
    "rank": model(lora_rank=3),
    "alpha": model(lora_alpha=4.0),
    "rank-alpha": model(lora_rank=2, lora_alpha=8.0),
    "lora-dropout": model(lora_dropout=0.3),
    "adapt-blocks": model(adapt_blocks=1),
    "adapt-blocks-of-all": model(adapt_blocks=9),
    "adapt-blocks-missing": {
        "data": "gaps",
        "modalities": {"a": {**A, "dropout": 0.3, "class_tokens": 2}, "b": {**B, "frames": True}},
        **model(adapt_blocks=1, lora_dropout=0.3, mask_tokens="per_target"),
        **training(weight_decay=0.5, modality_dropout="exhaustive", accumulation=2),
    },
    "adapt-blocks-kept": {  # each sample by itself, and from the second epoch on from the disk
        "data": "gaps",
        "modalities": {"a": {**A, "dropout": 0.3, "class_tokens": 2}, "b": {**B, "frames": True}},
        **model(adapt_blocks=1, lora_dropout=0.3, mask_tokens="per_target"),
        **training(weight_decay=0.5, modality_dropout="exhaustive", accumulation=2, frozen_cache_gb=1.0),
    },
    "encoder-dropout": {"modalities": {"a": {**A, "dropout": 0.3}, "b": B}},
    "weight-decay": training(weight_decay=0.5),
    "weight-decay-0": training(weight_decay=0.0),
    "eps": training(eps=1e-2),
    "clip": training(clip_norm=0.05),
    "clip-wide": training(clip_norm=1e3),
    "power": training(power=2.5),
    "lr": training(lr=0.01),
    "lr-factors": training(lr_factors=FACTORS),
    "warm-up-0": training(warmup_epochs=0),
    "warm-up-2": training(warmup_epochs=2),
    "longer": training(epochs=4),
    "two-steps-an-epoch": training(batch_size=4, epochs=2),
    "accumulation": training(accumulation=2),
    "accumulation-missing": {"data": "gaps", **training(accumulation=4)},
    "accumulation-dropout": {**model(lora_dropout=0.3), **training(accumulation=2)},
    "multi-label": {"data": "several"},
    "multi-label-exhaustive": {"data": "several", **training(modality_dropout="exhaustive")},
    "balanced": {"balanced": True, **training(accumulation=2)},
    "balanced-multi-label": {"balanced": True, "data": "several"},
    "balanced-exhaustive": {
        "balanced": True,
        "data": "gaps",
        **training(modality_dropout="exhaustive", batch_size=4, epochs=2),
    },
    "one-modality": {"modalities": {"b": B}},
    "one-modality-random": {"modalities": {"b": B}, **training(modality_dropout="random")},
    "three-modalities": {"modalities": THREE},
    "three-random": {"modalities": THREE, **training(modality_dropout="random")},
    "three-exhaustive": {"modalities": THREE, **training(modality_dropout="exhaustive")},
    "other-order": {"modalities": {"b": B, "a": A}},
    "other-order-missing": {"data": "gaps", "modalities": {"b": B, "a": A}},
    "per-target": {"modalities": THREE, **model(mask_tokens="per_target")},
    "per-target-missing": {"data": "gaps", "modalities": THREE, **model(mask_tokens="per_target")},
    "per-target-of-two": model(mask_tokens="per_target"),
    "missing": {"data": "gaps"},
    "missing-random": {"data": "gaps", **training(modality_dropout="random")},
    "three-missing-random": {"data": "gaps", "modalities": THREE, **training(modality_dropout="random")},
    "random-two-steps-an-epoch": training(modality_dropout="random", batch_size=4, epochs=2),
    "missing-exhaustive": {"data": "gaps", "modalities": THREE, **training(modality_dropout="exhaustive")},
    "frames": {"modalities": {"a": A, "b": {**B, "frames": True}}},
    "frames-missing-dropout": {
        "data": "gaps",
        "modalities": {"a": A, "b": {**B, "frames": True}},
        **model(lora_dropout=0.3),
    },
    "two-class-tokens": {"modalities": {"a": {**A, "class_tokens": 2}, "b": B}},
    "no-class-token": {"data": "gaps", "modalities": {"a": {**A, "class_tokens": 0}, "b": B}},
    "no-projection": {"modalities": {"a": {**A, "width": 12}, "b": B}},
    "every-one-projected": model(width=10),
    "shared-checkpoint": {"modalities": {"a": {**B}, "b": B}},
    "augmentation": {"modalities": {"a": {**A, "augment": True}, "b": {**B, "augment": True}}},
    "augmentation-two-steps": {
        "modalities": {"a": {**A, "augment": True}, "b": B},
        **training(batch_size=4, epochs=2),
    },
    "trained-whole": {
        "data": "gaps",
        "modalities": {"a": {**A, "kind": "whole", "class_tokens": 2}, "b": {**B, "dropout": 0.3}},
        **model(lora_dropout=0.3),
        **training(lr_factors=FACTORS, lr=0.01, modality_dropout="random", accumulation=2),
    },
    "per-modality": model(**PER_MODALITY),
    "per-modality-lr-factors": {**model(**PER_MODALITY), **training(lr_factors=FACTORS)},
    "per-modality-accumulation": {**model(**PER_MODALITY), **training(accumulation=2)},
    "per-modality-without-proxies": model(**{**PER_MODALITY, "proxy_rank": 0}),
    "per-modality-exhaustive": {
        "data": "gaps",
        "modalities": THREE,
        **model(**PER_MODALITY),
        **training(modality_dropout="exhaustive", detach_target=True),
    },
    "per-modality-per-target": {
        "modalities": THREE,
        **model(**PER_MODALITY, mask_tokens="per_target"),
        **training(modality_dropout="random"),
    },
    "per-modality-frames": {
        "modalities": {"a": {**A, "class_tokens": 2}, "b": {**B, "frames": True}},
        **model(**PER_MODALITY),
    },
    "per-modality-other-order": {"modalities": {"b": B, "a": A}, **model(**PER_MODALITY)},
    "per-modality-of-one": {"modalities": {"b": B}, **model(**PER_MODALITY)},
    "per-modality-multi-label": {"data": "several", **model(**PER_MODALITY)},
    "seed": {"seed": 6, **training(modality_dropout="random")},
}
#: Switches that must not change a number, with the case that they equal.
SAME = {
    "accumulation": "base",
    "per-modality-accumulation": "per-modality",
    "accumulation-missing": "missing",
    "auto-complete": "random",
    "auto-missing": "missing",
    "per-target-of-two": "base",
    "other-order-missing": "missing",
    "clip-wide": "base",
    "adapt-blocks-of-all": "base",
    "adapt-blocks-kept": "adapt-blocks-missing",
    "one-modality-random": "one-modality",
}


def assert_frozen(network: Any, modality: str, options: Mapping[str, Any]) -> None:
    """The pretrained tensors are what they were, and nothing computes a gradient for them."""
    branch = next(branch for branch in network.each_branch() if branch.name == modality)
    held = {
        n.replace("blocks.", "").replace(".base_layer", ""): p for n, p in branch.backbone.named_parameters()
    }
    for name, value in frozen_weights(options["width"], options["weights"]).items():
        parameter = held["letters.weight" if name == "letters" else name]
        assert torch.equal(parameter, value.double()), f"{modality}: {name}"
        assert not parameter.requires_grad, f"{modality}: {name}"


def assert_begun_from_pretrained(
    initial: Mapping[str, torch.Tensor], modality: str, options: Mapping[str, Any]
) -> None:
    for name, value in frozen_weights(options["width"], options["weights"]).items():
        assert torch.equal(initial[f"{modality}.backbone.{place_of(name)}"], value.double()), name
    assert not any(".lora_" in name for name in initial if name.startswith(f"{modality}."))


def losses(name: str, data: Mapping[str, Path], folder: Path) -> list[dict[str, float]]:
    case = settings(CASES[name])
    folder.mkdir(exist_ok=True)
    trained = train(write_recipe(folder, case, train_only(data[case["data"]])), folder / "run")
    return [step.losses for step in trained.steps]


@pytest.fixture(scope="module")
def base(golden_data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    return losses("base", golden_data, tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("name", CASES)
def test_three_steps_are_the_papers(
    name: str, golden_data: dict[str, Path], base: list[dict[str, float]], tmp_path: Path
) -> None:
    case = settings(CASES[name])
    recipe = write_recipe(tmp_path, case, train_only(golden_data[case["data"]]))
    trained = train(recipe, tmp_path / "run")
    size = case["training"]["batch_size"]
    assert all(len({key for part in parts for key in part}) == size for parts in trained.keys)
    assert {len(parts) for parts in trained.keys} == {case["training"]["accumulation"]}
    assert len(trained.steps) >= 3
    assert_same_steps(trained.steps, expect(case, trained))
    assert trained.trainer is not None
    for modality, options in case["modalities"].items():
        if options["kind"] == "whole":
            assert_begun_from_pretrained(trained.initial, modality, options)
        else:
            assert_frozen(trained.trainer.model, modality, options)
    if name != "base" and name not in SAME:  # else the case would show nothing
        assert [step.losses for step in trained.steps] != base


@pytest.mark.parametrize(("name", "same"), SAME.items())
def test_what_must_not_change_a_number(
    name: str, same: str, golden_data: dict[str, Path], tmp_path: Path
) -> None:
    found, wanted = (losses(one, golden_data, tmp_path / one) for one in (name, same))
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["random", "three-random"])
def test_the_random_cases_meet_three_kinds_of_draw(name: str) -> None:
    method = method_of(settings(CASES[name]))
    whole = Sample(dict.fromkeys(method.modalities, "x"), ())
    draws = [tuple(drop_modalities(method, t, [whole])[0].inputs) for t in range(3)]
    assert len(set(draws)) == 3
    assert tuple(method.modalities) in draws
