"""What a training begins with: a head start on the right samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import (
    ALONE,
    MODEL,
    TRAINING,
    A,
    B,
    Case,
    method_of,
    samples,
    settings,
    train_only,
    with_validation,
    write_recipe,
)
from reference import Sample, _encode_row, no_dropout
from torch import Tensor

from u2a.method.head_start import FrozenTokens
from u2a.recipe.file import load_recipe
from u2a.runs.checkpoint import adapter_state
from u2a.runs.folder import Run
from u2a.training import before_steps as module
from u2a.training.trainer import Trainer

PER_MODALITY: Case = {
    "data": "gaps",
    "modalities": {"a": {**A, "class_tokens": 2, "dropout": 0.3, "augment": True}, "b": {**B, "frames": True}},
    "model": {**MODEL, "fusion": "per_modality", "read_out": "mean", "proxy_rank": 2, "lora_dropout": 0.4},
    "training": {**TRAINING, "head_start": True},
}


def recipe_of(case: Case, folder: Path, data: Any, *sets: str) -> Any:
    folder.mkdir(exist_ok=True)
    return load_recipe(write_recipe(folder, settings(case), data), sets)


def trainer(case: Case, folder: Path, data: Any, *sets: str) -> Trainer:
    recipe = recipe_of(case, folder, data, *sets)
    made = Trainer(recipe, Run(folder / "run"), ALONE)
    made.run.create(recipe)
    return made


# --- the head start's samples ---


def tokens_by_hand(case: Case, name: str, sample: Sample, learned: Mapping[str, Tensor]) -> list[Tensor]:
    """Class, mean and mask tokens: means over the sample's rows, nothing dropped or augmented."""
    method = method_of(settings(case))
    rows = [
        _encode_row(method, name, row, learned, no_dropout)
        for row in method.modalities[name].rows(sample.inputs[name])
    ]
    return [torch.stack(part).mean(0) for part in zip(*rows, strict=True)]


class Seen(Exception):
    """What the fit was given; the fit itself is tests/method/test_head_start.py's."""


def given_to_the_fit(made: Trainer, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    def see(*args: Any, **how: Any) -> Any:
        raise Seen(args, how)

    monkeypatch.setattr(module, "fit_head_start", see)
    with pytest.raises(Seen) as seen:
        made._begin()
    args, how = seen.value.args
    return args, how


def assert_tokens(case: Case, found: FrozenTokens, wanted: list[Sample], learned: Mapping[str, Tensor]) -> None:
    assert found.target.tolist() == [sample.labels[0] for sample in wanted]
    assert found.present_NM.tolist() == [[m in sample.inputs for m in "ab"] for sample in wanted]
    for m, name in enumerate("ab"):
        for n, sample in enumerate(wanted):
            if name in sample.inputs:
                for mine, theirs in zip(
                    found.tokens[m], tokens_by_hand(case, name, sample, learned), strict=True
                ):
                    torch.testing.assert_close(mine[n].double(), theirs, rtol=1e-4, atol=1e-4)


def with_a_or_b(split: str, data: str = "gaps") -> list[Sample]:
    return [
        Sample({m: x for m, x in sample.inputs.items() if m in "ab"}, sample.labels)
        for sample in samples(data, split).values()
    ]


def test_the_head_start_sees_the_samples_as_evaluation_does(
    golden_data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {**with_validation(golden_data["complete"]), **train_only(golden_data["gaps"])}
    made = trainer(PER_MODALITY, tmp_path, splits)
    learned = {name: tensor.double().clone() for name, tensor in adapter_state(made.model).items()}
    (read_outs, head, train, validation), how = given_to_the_fit(made, monkeypatch)
    assert (read_outs, head) == (made.model.read_outs, made.model.head)
    assert how["read_out"] == "mean"
    assert_tokens(PER_MODALITY, train, with_a_or_b("train"), learned)
    assert_tokens(PER_MODALITY, validation, with_a_or_b("val", "complete"), learned)


def test_what_is_held_out_is_not_fitted(
    golden_data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("data.holdout=0.3", "training.batch_size=7")
    made = trainer(PER_MODALITY, tmp_path, train_only(golden_data["gaps"]), *sets)
    held_N = made.data._held_N
    assert held_N.sum() == 3
    learned = {name: tensor.double().clone() for name, tensor in adapter_state(made.model).items()}
    (_, _, train, validation), _ = given_to_the_fit(made, monkeypatch)
    everything = with_a_or_b("train")
    assert_tokens(
        PER_MODALITY, train, [s for s, held in zip(everything, held_N, strict=True) if not held], learned
    )
    assert_tokens(
        PER_MODALITY, validation, [s for s, held in zip(everything, held_N, strict=True) if held], learned
    )


def places_of(made: Trainer, drawn: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Note the places of the samples that the trainer encodes."""
    encode = made.data._encode

    def noted(*args: Any) -> list[Tensor]:
        columns = encode(*args)
        drawn.append(columns[-1].tolist())
        return columns

    monkeypatch.setattr(made.data, "_encode", noted)


def test_what_does_not_fit_into_memory_is_drawn_from_the_seed(
    golden_data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = 4 * (3 * 8 + 3 * 12)  # of one sample's tokens, in bytes
    monkeypatch.setattr(module, "CACHE_BYTES", 6 * numbers)
    drawn, seeds = [], []
    for n, seed in enumerate((1, 1, 2)):
        made = trainer(PER_MODALITY, tmp_path / str(n), train_only(golden_data["gaps"]), f"seed={seed}")
        places_of(made, drawn, monkeypatch)
        _, how = given_to_the_fit(made, monkeypatch)
        seeds.append(how["seed"])
    assert all(len(set(places)) == 6 and places == sorted(places) for places in drawn)
    assert drawn[0] == drawn[1] != drawn[2]
    assert list(range(6)) not in drawn
    assert seeds[0] == seeds[1] != seeds[2]


def test_head_start_off_leaves_the_start_as_it_is(golden_data: dict[str, Path], tmp_path: Path) -> None:
    made = trainer(PER_MODALITY, tmp_path, train_only(golden_data["gaps"]), "training.head_start=false")
    before = {name: tensor.clone() for name, tensor in adapter_state(made.model).items()}
    made._begin()
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapter_state(made.model).items())
