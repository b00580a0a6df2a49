"""The golden step: u2a's own training, from shards through `Trainer.fit`, against `reference.py` in float64.

Three optimizer steps (one a epoch) over the warm-up's edge, for every switch that changes a number. Losses,
clipped gradients and weights of every step agree to 1e-9, and each switch is seen to change what it should.
Every switch of the recipe is written out here, so that no default takes part.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import distributions
import pytest
import tomli_w
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from u2a.checkpoint import learnable
from u2a.data.pack import pack_manifest
from u2a.distributed import World
from u2a.plugins import registry
from u2a.recipe_file import load_recipe
from u2a.run import Run
from u2a.trainer import Trainer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import reference  # noqa: E402
from reference import Method, Modality, Sample, Step  # noqa: E402
from tiny_plugin import frozen_weights  # noqa: E402

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
CLASSES = ("red", "green", "blue")
A = {"kind": "letters", "width": 8, "weights": 1, "class_tokens": 1, "frames": False, "dropout": 0.0}
B = {**A, "width": 12, "weights": 2}
C = {**A, "width": 12, "weights": 3}
THREE = {"a": A, "b": B, "c": C}
TRAINING = {
    "batch_size": 8,
    "accumulation": 1,
    "epochs": 3,
    "warmup_epochs": 1,
    "lr": 0.05,
    "power": 0.9,
    "weight_decay": 0.02,
    "eps": 1e-8,
    "alignment_weight": 0.2,
    "detach_target": False,
    "modality_dropout": "off",
    "precision": "fp32",
    "device": "cpu",
    "loggers": [],
}
MODEL = {"mask_tokens": "shared", "lora_rank": 1, "lora_alpha": 1.0, "lora_dropout": 0.0}
BASE: dict[str, Any] = {
    "seed": 5,
    "data": "complete",
    "modalities": {"a": A, "b": B},
    "model": MODEL,
    "training": TRAINING,
}
Case = dict[str, Any]


def training(**switches: Any) -> Case:
    return {"training": {**TRAINING, **switches}}


def model(**switches: Any) -> Case:
    return {"model": {**MODEL, **switches}}


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
    "encoder-dropout": {"modalities": {"a": {**A, "dropout": 0.3}, "b": B}},
    "weight-decay": training(weight_decay=0.5),
    "weight-decay-0": training(weight_decay=0.0),
    "eps": training(eps=1e-2),
    "clip": training(clip_norm=0.05),
    "clip-wide": training(clip_norm=1e3),
    "power": training(power=2.5),
    "lr": training(lr=0.01),
    "warm-up-0": training(warmup_epochs=0),
    "warm-up-2": training(warmup_epochs=2),
    "longer": training(epochs=4),
    "two-steps-an-epoch": training(batch_size=4, epochs=2),
    "accumulation": training(accumulation=2),
    "accumulation-missing": {"data": "gaps", **training(accumulation=4)},
    "accumulation-dropout": {**model(lora_dropout=0.3), **training(accumulation=2)},
    "multi-label": {"data": "several"},
    "multi-label-exhaustive": {"data": "several", **training(modality_dropout="exhaustive")},
    "one-modality": {"modalities": {"b": B}},
    "one-modality-random": {"modalities": {"b": B}, **training(modality_dropout="random")},
    "three-modalities": {"modalities": THREE},
    "three-random": {"modalities": THREE, **training(modality_dropout="random")},
    "three-exhaustive": {"modalities": THREE, **training(modality_dropout="exhaustive")},
    "other-order": {"modalities": {"b": B, "a": A}},
    "per-target": {"modalities": THREE, **model(mask_tokens="per_target")},
    "per-target-missing": {"data": "gaps", "modalities": THREE, **model(mask_tokens="per_target")},
    "per-target-of-two": model(mask_tokens="per_target"),
    "missing": {"data": "gaps"},
    "missing-random": {"data": "gaps", **training(modality_dropout="random")},
    "missing-exhaustive": {"data": "gaps", "modalities": THREE, **training(modality_dropout="exhaustive")},
    "frames": {"modalities": {"a": A, "b": {**B, "frames": True}}},
    "frames-missing-dropout": {
        "data": "gaps",
        "modalities": {"a": A, "b": {**B, "frames": True}},
        **model(lora_dropout=0.3),
    },
    "two-class-tokens": {"modalities": {"a": {**A, "class_tokens": 2}, "b": B}},
    "no-projection": {"modalities": {"a": {**A, "width": 12}, "b": B}},
    "every-one-projected": model(width=10),
    "shared-checkpoint": {"modalities": {"a": {**B}, "b": B}},
    "seed": {"seed": 6, **training(modality_dropout="random")},
}
#: Switches that must not change a number, with the case that they equal.
SAME = {
    "accumulation": "base",
    "accumulation-missing": "missing",
    "auto-complete": "random",
    "auto-missing": "missing",
    "per-target-of-two": "base",
    "clip-wide": "base",
    "one-modality-random": "one-modality",
}
TEXTS = [
    ("sun|on", "a|tree", "x"),
    ("rain", "of|the|sea", "yy|z"),
    ("wind|it|a", "boat", "xyz"),
    ("old", "town|in", "q|w|e"),
    ("film|no", "two|b", "rr"),
    ("friend", "red", "s|t"),
    ("find|me", "small|s", "uvw"),
    ("about", "the|to|be", "k"),
    ("and", "who|am|i", "m|n"),
    ("sky|e", "road|x", "op"),
]
#: What the i-th sample of the data with gaps has.
GAPS = ("abc", "a", "bc", "b", "ac", "abc", "ab", "bc", "abc", "b")


def settings(case: Case) -> dict[str, Any]:
    return {**copy.deepcopy(BASE), **copy.deepcopy(case)}


def samples(data: str, split: str = "train") -> dict[str, Sample]:
    """The data set of a name by key: ``complete``, with ``gaps``, or with ``several`` labels a sample."""
    found = {}
    for i, texts in enumerate(TEXTS):
        has = GAPS[i] if data == "gaps" else "abc"
        labels: tuple[int, ...] = (i * i % 3,)
        if data == "several":
            labels = ((), (i % 3,), (0, 2))[i % 3]
        inputs = {name: text for name, text in zip("abc", texts, strict=True) if name in has}
        found[f"{split}-{i}"] = Sample(inputs, labels)
    return found


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    site = tmp_path_factory.mktemp("site")
    distributions.install(site, "golden", {"letters": "golden_plugin"}, code=(HERE / "tiny_plugin.py").read_text())
    with distributions.visible(site):
        yield


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, plugin: None) -> dict[str, Path]:
    """Packed data sets by name, each with a train and a val split."""
    folders = {}
    for data in ("complete", "gaps", "several"):
        folder = folders[data] = tmp_path_factory.mktemp(data)
        rows: list[dict[str, Any]] = []
        for split in ("train", "val"):
            for key, sample in samples(data, split).items():
                names = [CLASSES[c] for c in sample.labels]
                label = {"labels": names} if data == "several" else {"label": names[0]}
                rows.append({"key": key, "split": split, **label, **sample.inputs})
        (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        recipe = write_recipe(folder, settings({"data": data, "modalities": THREE}), "shards")
        pack_manifest(load_recipe(recipe), folder / "manifest.jsonl", folder / "shards", shard_size=4)
    return folders


def train_only(folder: Path) -> dict[str, list[str]]:
    return {"train": [str(path) for path in sorted((folder / "shards").glob("train-*.tar"))]}


def write_recipe(folder: Path, case: Case, data: str | dict[str, list[str]], metric: str | None = None) -> Path:
    kind = "multi_label" if case["data"] == "several" else "single_label"
    document = {
        "name": "golden",
        "seed": case["seed"],
        "data": {"shards": data, "workers": 0},
        "task": {"kind": kind, "classes": CLASSES, **({"metric": metric} if metric else {})},
        **{section: case[section] for section in ("modalities", "model", "training")},
    }
    path = folder / "golden.toml"
    path.write_text(tomli_w.dumps(document))
    return path


def method_of(case: Case) -> Method:
    """The recipe in the reference's words."""
    training, model = case["training"], case["model"]
    steps_per_epoch = len(TEXTS) // training["batch_size"]
    dropout = training["modality_dropout"]
    if dropout == "auto":
        dropout = "off" if case["data"] == "gaps" else "random"
    modalities = {}
    for name, options in case["modalities"].items():
        frozen = {k: v.double() for k, v in frozen_weights(options["width"], options["weights"]).items()}
        how = {key: options[key] for key in ("width", "class_tokens", "frames", "dropout")}
        modalities[name] = Modality(frozen=frozen, **how)
    same = ("lr", "power", "weight_decay", "eps", "alignment_weight", "detach_target")
    return Method(
        modalities=modalities,
        seed=case["seed"],
        n_steps=training["epochs"] * steps_per_epoch,
        warm_steps=training["warmup_epochs"] * steps_per_epoch,
        width=model.get("width", max(modality.width for modality in modalities.values())),
        multi_label=case["data"] == "several",
        per_target=model["mask_tokens"] == "per_target",
        clip_norm=training.get("clip_norm"),
        modality_dropout=dropout,
        **{name: model[name] for name in ("lora_rank", "lora_alpha", "lora_dropout")},
        **{name: training[name] for name in same},
    )


@dataclass
class Trained:
    """What u2a did: the initial tensors, each step's micro-batches as keys, and what it computed."""

    trainer: Trainer
    initial: dict[str, Tensor]
    keys: list[list[tuple[str, ...]]]
    steps: list[Step]


def train(recipe_file: Path, folder: Path) -> Trained:
    """`u2a train` in float64, watched: gradients as the optimizer receives them, weights after each step."""
    recipe = load_recipe(recipe_file)
    trainer = Trainer(recipe, Run(folder), ALONE, registry())
    trainer.run.create(recipe, registry())
    trainer.model.double()
    names = {id(parameter): name for name, parameter in learnable(trainer.model)}

    def state() -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in learnable(trainer.model)}

    initial, keys, steps, gradients = state(), [], [], {}
    take = trainer.train_step

    def before_update(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        found = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients.update({names[id(p)]: p.grad.clone() for p in found})

    def watched(micro_batches: list[Any]) -> dict[str, float]:
        gradients.clear()
        losses = take(micro_batches)
        keys.append([batch.keys for batch in micro_batches])
        steps.append(Step(losses, dict(gradients), state()))
        return losses

    trainer.train_step = watched  # type: ignore[method-assign]
    hook = register_optimizer_step_pre_hook(before_update)
    try:
        trainer.fit()
    finally:
        hook.remove()
    return Trained(trainer, initial, keys, steps)


def expect(case: Case, trained: Trained) -> list[Step]:
    """The same training by the reference."""
    everything = samples(case["data"])
    wanted = set(case["modalities"])
    given = [
        [[restrict(everything[key], wanted) for key in part] for part in parts] for parts in trained.keys
    ]
    return reference.train(method_of(case), given, trained.initial)


def restrict(sample: Sample, names: set[str]) -> Sample:
    return replace(sample, inputs={name: x for name, x in sample.inputs.items() if name in names})


def assert_equal(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    assert set(found) == set(wanted), where
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{where}: {n}: {text}"
        )


@pytest.mark.parametrize("name", CASES)
def test_three_steps_are_the_papers(name: str, shards: dict[str, Path], tmp_path: Path) -> None:
    case = settings(CASES[name])
    recipe = write_recipe(tmp_path, case, train_only(shards[case["data"]]))
    trained = train(recipe, tmp_path / "run")
    size = case["training"]["batch_size"]
    assert all(len({key for part in parts for key in part}) == size for parts in trained.keys)
    assert {len(parts) for parts in trained.keys} == {case["training"]["accumulation"]}
    expected = expect(case, trained)
    assert len(trained.steps) == len(expected) >= 3
    for t, (found, wanted) in enumerate(zip(trained.steps, expected, strict=True)):
        assert_equal(found.losses, wanted.losses, f"step {t}: losses")
        assert_equal(found.gradients, wanted.gradients, f"step {t}: gradients")
        assert_equal(found.weights, wanted.weights, f"step {t}: weights")
