"""Trainings for the golden step: a small data set, recipes with every switch written out, watched in float64.

What is compared is in `reference.py` (which imports nothing of u2a); here is the way from one to the other.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import reference
import tomli_w
import torch
from golden_plugin import frozen_weights, turned
from reference import Method, Modality, Sample, Step
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from u2a.common.distributed import World
from u2a.data.packing.pack import pack_manifest
from u2a.method.model import U2A
from u2a.recipe.file import load_recipe
from u2a.runs.build import build_model
from u2a.runs.checkpoint import adapter_state, learnable
from u2a.runs.folder import Run
from u2a.training import trainer as trainer_module
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
CLASSES = ("red", "green", "blue")
A = {
    "kind": "letters",
    "width": 8,
    "weights": 1,
    "class_tokens": 1,
    "frames": False,
    "dropout": 0.0,
    "augment": False,
}
B = {**A, "width": 12, "weights": 2}
C = {**A, "width": 12, "weights": 3}
THREE = {"a": A, "b": B, "c": C}
TRAINING = {
    "head_start": False,
    "patience": 0,
    "clip_norm": 0,
    "batch_size": 8,
    "accumulation": 1,
    "epochs": 3,
    "warmup_epochs": 1,
    "lr": 0.05,
    "lr_factors": dict.fromkeys(("lora", "encoder", "mask_tokens", "projection", "proxies", "head"), 1.0),
    "power": 0.9,
    "weight_decay": 0.02,
    "eps": 1e-8,
    "frozen_cache_gb": 0.0,
    "alignment_weight": 0.2,
    "detach_target": False,
    "modality_dropout": "off",
    "precision": "fp32",
    "device": "cpu",
    "loggers": [],
}
MODEL = {"fusion": "sum", "mask_tokens": "shared", "lora_rank": 1, "lora_alpha": 1.0, "lora_dropout": 0.0}
BASE: dict[str, Any] = {
    "seed": 46,
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
#: Classes by number, and what the i-th sample of the data with gaps has.
LABELS = (0, 2, 1, 1, 2, 0, 2, 0, 1, 2)
GAPS = ("abc", "a", "bc", "b", "ac", "abc", "ab", "bc", "abc", "b")


def settings(case: Case) -> dict[str, Any]:
    return {**copy.deepcopy(BASE), **copy.deepcopy(case)}


def samples(data: str, split: str = "train") -> dict[str, Sample]:
    """The data set of a name by key: ``complete``, with ``gaps``, or with ``several`` labels a sample."""
    found = {}
    for i, texts in enumerate(TEXTS):
        has = GAPS[i] if data == "gaps" else "abc"
        labels: tuple[int, ...] = (LABELS[i],)
        if data == "several":
            labels = ((), (i % 3,), (0, 2))[i % 3]
        inputs = {name: text for name, text in zip("abc", texts, strict=True) if name in has}
        found[f"{split}-{i}"] = Sample(inputs, labels)
    return found


def pack(folder: Path, data: str) -> Path:
    """Write a data set of both splits into a folder; returns that."""
    rows: list[dict[str, Any]] = []
    for split in ("train", "val"):
        for key, sample in samples(data, split).items():
            names = [CLASSES[c] for c in sample.labels]
            label = {"labels": names} if data == "several" else {"label": names[0]}
            rows.append({"key": key, "split": split, **label, **sample.inputs})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = write_recipe(folder, settings({"data": data, "modalities": THREE}), "shards")
    pack_manifest(load_recipe(recipe), folder / "manifest.jsonl", folder / "shards", shard_size=4)
    return folder


def train_only(folder: Path) -> dict[str, list[str]]:
    return {"train": [str(path) for path in sorted((folder / "shards").glob("train-*.tar"))]}


def with_validation(folder: Path) -> dict[str, list[str]]:
    return {**train_only(folder), "val": [str(path) for path in sorted((folder / "shards").glob("val-*.tar"))]}


def write_recipe(folder: Path, case: Case, data: str | dict[str, list[str]], metric: str | None = None) -> Path:
    kind = "multi_label" if case["data"] == "several" else "single_label"
    document = {
        "name": "golden",
        "seed": case["seed"],
        "data": {"shards": data, "workers": 0},
        "task": {
            "kind": kind,
            "classes": CLASSES,
            "select_on": "complete",
            **({"metric": metric} if metric else {}),
            **({"class_weights": "balanced"} if case.get("balanced") else {}),
        },
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
        modalities[name] = Modality(frozen=frozen, whole=options["kind"] == "whole", **how)
    same = ("lr", "power", "weight_decay", "eps", "alignment_weight", "detach_target")
    return Method(
        modalities=modalities,
        seed=case["seed"],
        n_steps=training["epochs"] * steps_per_epoch,
        warm_steps=training["warmup_epochs"] * steps_per_epoch,
        width=model.get("width", max(modality.width for modality in modalities.values())),
        multi_label=case["data"] == "several",
        per_target=model["mask_tokens"] == "per_target",
        clip_norm=training.get("clip_norm") or None,
        modality_dropout=dropout,
        adapt_blocks=model.get("adapt_blocks", reference.BLOCKS),
        **{name: model[name] for name in ("lora_rank", "lora_alpha", "lora_dropout")},
        **{name: training[name] for name in same},
        lr_factors=training["lr_factors"],
        per_modality=model["fusion"] == "per_modality",
        balanced=[one.labels for one in samples(case["data"]).values()] if case.get("balanced") else None,
    )


@dataclass
class Trained:
    """What u2a did: the initial tensors, this process's micro-batches of each step as keys, what it computed.

    `trainer` is None where it was another process's.
    """

    initial: dict[str, Tensor]
    keys: list[list[tuple[str, ...]]]
    steps: list[Step]
    statistics: dict[str, Tensor]
    trainer: Trainer | None = None


def train(recipe_file: Path, folder: Path, place: World = ALONE) -> Trained:
    """`u2a train` in float64, watched: gradients as the optimizer receives them, weights after each step."""
    recipe = load_recipe(recipe_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "build_model", lambda *args, **how: build_model(*args, **how).double())
        trainer = Trainer(recipe, Run(folder), place)
    if place.main:
        trainer.run.create(recipe)
    names = {id(parameter): name for name, parameter in learnable(trainer.model)}

    def state() -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in learnable(trainer.model)}

    statistics = make_up_a_head_start(trainer.model)
    trained, gradients = Trained(state(), [], [], statistics, trainer), {}
    take = trainer.train_step

    def before_update(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        found = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients.update({names[id(p)]: p.grad.clone() for p in found})

    def watched(micro_batches: list[Any]) -> dict[str, float]:
        gradients.clear()
        losses = take(micro_batches)
        trained.keys.append([batch.keys for batch in micro_batches])
        trained.steps.append(Step(losses, dict(gradients), state()))
        return losses

    trainer.train_step = watched  # type: ignore[method-assign]
    hook = register_optimizer_step_pre_hook(before_update)
    try:
        trainer.fit()
    finally:
        hook.remove()
    return trained


def make_up_a_head_start(model: U2A) -> dict[str, Tensor]:
    """Draw what a head start would have measured, and where it would have begun; returns the statistics."""
    if model.read_outs is None:
        return {}
    draw = torch.Generator().manual_seed(7)
    parameters = dict(learnable(model))
    fitted = {name: x for name, x in adapter_state(model).items() if name.startswith(("read_outs.", "head."))}
    for tensor in fitted.values():
        drawn = torch.rand(tensor.shape, generator=draw, dtype=torch.double) * 0.9 + 0.1
        tensor.copy_(drawn)
    return {name: x.clone() for name, x in fitted.items() if name not in parameters}


def expect(case: Case, *processes: Trained) -> list[Step]:
    """The same training by the reference."""
    given = [
        [[[_training_sample(case, key, t) for key in part] for part in parts] for parts in at_once]
        for t, at_once in enumerate(zip(*(one.keys for one in processes), strict=True))
    ]
    method = replace(method_of(case), statistics=processes[0].statistics)
    return reference.train(method, given, processes[0].initial)


def assert_same_steps(found: Sequence[Step], wanted: Sequence[Step]) -> None:
    """Losses, gradients and weights of every step agree to 1e-9."""
    assert len(found) == len(wanted)
    for t, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        for what in ("losses", "gradients", "weights"):
            _assert_equal(getattr(mine, what), getattr(theirs, what), f"step {t}: {what}")


def _assert_equal(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    assert set(found) == set(wanted), where
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{where}: {n}: {text}"
        )


def _training_sample(case: Case, key: str, t: int) -> Sample:
    """A sample as step t sees it: augmented from the seed, the epoch and the sample's place alone."""
    sample, place = samples(case["data"])[key], int(key.split("-")[1])
    epoch = t // (len(TEXTS) // case["training"]["batch_size"])
    seed = reference.seed_for("augment", case["seed"], epoch, place)
    inputs = {
        name: turned(sample.inputs[name], seed) if options["augment"] else sample.inputs[name]
        for name, options in case["modalities"].items()
        if name in sample.inputs
    }
    return replace(sample, inputs=inputs)


def validation_samples(case: Case) -> list[Sample]:
    """The val split in order, as evaluation sees it."""
    return [_restrict(sample, set(case["modalities"])) for sample in samples(case["data"], "val").values()]


def _restrict(sample: Sample, names: set[str]) -> Sample:
    return replace(sample, inputs={name: x for name, x in sample.inputs.items() if name in names})


def assert_equal(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    assert set(found) == set(wanted), where
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{where}: {n}: {text}"
        )
