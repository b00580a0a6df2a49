"""Beginning with another run's adapter (``training.start_from``)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import CLASSES, train_only
from test_beginning import PER_MODALITY, A, B, Case, recipe_of, trainer
from torch import Tensor

from u2a.errors import CheckpointError
from u2a.method.model import U2A
from u2a.runs.build import build_model
from u2a.runs.checkpoint import adapter_state, describe_modalities, save_checkpoint
from u2a.runs.folder import Run
from u2a.runs.start_from import take_adapter


@pytest.fixture(scope="module")
def source(
    golden_data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Tensor]]:
    """A run whose best checkpoint is not its last one, and the best one's tensors."""
    return trained(PER_MODALITY, tmp_path_factory.mktemp("source"), golden_data)


def trained(case: Case, folder: Path, golden_data: dict[str, Path]) -> tuple[Path, dict[str, Tensor]]:
    recipe = recipe_of(case, folder, train_only(golden_data["gaps"]))
    run, model = Run(folder / "run"), build_model(recipe)
    run.create(recipe)
    meta = {"classes": list(CLASSES), "modalities": describe_modalities(model)}
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    best: dict[str, Tensor] = {}
    for step in (1, 2):
        with torch.no_grad():
            for name, tensor in adapter_state(model).items():
                tensor.copy_(torch.full_like(tensor, step + len(name) / 100))
            adapter_state(model)["head.decay_M"].add_(torch.arange(len(model.names)))
        best = best or {name: tensor.clone() for name, tensor in adapter_state(model).items()}
        save_checkpoint(run.checkpoints, step, model, optimizer, meta, best=step == 1)
    return run.folder, best


def begun(
    source: Path | str, case: Case, folder: Path, data: Any, classes: tuple[str, ...]
) -> tuple[U2A, str, bool]:
    model = build_model(recipe_of(case, folder, data))
    return model, *take_adapter(str(source), model, list(classes))


def test_the_best_checkpoints_tensors_are_taken(
    source: tuple[Path, dict[str, Tensor]], golden_data: dict[str, Path], tmp_path: Path
) -> None:
    model, said, whole = begun(source[0], PER_MODALITY, tmp_path, train_only(golden_data["gaps"]), CLASSES)
    assert whole
    assert f"{len(source[1])} of {len(source[1])} tensors" in said
    scales = {f"read_outs.{kind}.{m}.mean" for kind in ("scales", "sources") for m in "ab"}
    assert scales | {name.replace("mean", "scale") for name in scales} <= source[1].keys()
    assert {"read_outs.gate", "head.decay_M"} <= source[1].keys()
    for name, tensor in adapter_state(model).items():
        assert torch.equal(tensor, source[1][name]), name


def test_what_does_not_fit_is_begun_anew(
    source: tuple[Path, dict[str, Tensor]], golden_data: dict[str, Path], tmp_path: Path
) -> None:
    """Classes in another order have another head, a modality with another rank another LoRA."""
    case = {**PER_MODALITY, "model": {**PER_MODALITY["model"], "lora_rank": 2}}
    data, classes = train_only(golden_data["gaps"]), CLASSES[::-1]
    fresh = adapter_state(build_model(recipe_of(case, tmp_path / "fresh", data)))
    model, said, whole = begun(source[0], case, tmp_path, data, classes)
    assert not whole
    assert said.endswith("begun anew: a, b, head")
    for name, tensor in adapter_state(model).items():
        anew = name.startswith("head.") or "lora" in name
        assert torch.equal(tensor, fresh[name] if anew else source[1][name]), name


def test_a_modality_keeps_what_is_its_own_in_another_order(
    source: tuple[Path, dict[str, Tensor]], golden_data: dict[str, Path], tmp_path: Path
) -> None:
    case = {**PER_MODALITY, "modalities": dict(reversed(PER_MODALITY["modalities"].items()))}
    model, _, whole = begun(source[0], case, tmp_path, train_only(golden_data["gaps"]), CLASSES)
    assert whole
    assert model.names == ("b", "a")
    state = adapter_state(model)
    assert torch.equal(state.pop("head.decay_M"), source[1]["head.decay_M"].flip(0))
    for name, tensor in state.items():
        assert torch.equal(tensor, source[1][name]), name


def test_what_is_for_one_target_is_not_taken_for_another(golden_data: dict[str, Path], tmp_path: Path) -> None:
    """With a mask token for each other modality, a's first is for b: not for c, where c comes first."""
    three = {"a": A, "b": B, "c": {**A, "weights": 3}}
    case = {
        **PER_MODALITY,
        "modalities": three,
        "model": {**PER_MODALITY["model"], "mask_tokens": "per_target"},
    }
    run, best = trained(case, tmp_path / "source", golden_data)
    again, _, whole = begun(run, case, tmp_path / "same", train_only(golden_data["gaps"]), CLASSES)
    assert whole
    other = {**case, "modalities": {name: three[name] for name in "cba"}}
    data = train_only(golden_data["gaps"])
    fresh = adapter_state(build_model(recipe_of(other, tmp_path / "fresh", data)))
    model, said, whole = begun(run, other, tmp_path / "other", data, CLASSES)
    assert not whole
    assert said.endswith("begun anew: a, b, c, read_outs")
    for name, tensor in adapter_state(model).items():
        if "mask_tokens" in name or "sources" in name:
            assert torch.equal(tensor, fresh[name]), name
            assert torch.equal(adapter_state(again)[name], best[name]), name
        elif name != "head.decay_M":
            assert torch.equal(tensor, best[name]), name


def test_a_run_at_an_address_is_begun_with(
    source: tuple[Path, dict[str, Tensor]],
    golden_data: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("U2A_CACHE", str(tmp_path / "cache"))
    run = Run(f"file://{tmp_path}/far away")
    shutil.copytree(source[0], run.folder)
    run.send()
    shutil.rmtree(tmp_path / "cache")
    model, said, _ = begun(str(run), PER_MODALITY, tmp_path / "own", train_only(golden_data["gaps"]), CLASSES)
    assert said.startswith(f"started from {run} (step-00000001-")
    for name, tensor in adapter_state(model).items():
        assert torch.equal(tensor, source[1][name]), name


def test_what_is_no_run_cannot_be_begun_with(golden_data: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^training\.start_from: .*nowhere: not a run folder"):
        begun(tmp_path / "nowhere", PER_MODALITY, tmp_path, train_only(golden_data["gaps"]), CLASSES)


def test_another_encoder_is_refused(
    source: tuple[Path, dict[str, Tensor]], golden_data: dict[str, Path], tmp_path: Path
) -> None:
    case = {
        **PER_MODALITY,
        "modalities": {**PER_MODALITY["modalities"], "b": {**B, "frames": True, "weights": 9}},
    }
    with pytest.raises(CheckpointError, match="its b has another weights of the encoder"):
        begun(source[0], case, tmp_path, train_only(golden_data["gaps"]), CLASSES)


def test_no_head_start_over_what_was_taken_whole(
    source: tuple[Path, dict[str, Tensor]], golden_data: dict[str, Path], tmp_path: Path
) -> None:
    made = trainer(PER_MODALITY, tmp_path, train_only(golden_data["gaps"]), f"training.start_from={source[0]}")
    made._begin()
    for name, tensor in adapter_state(made.model).items():
        assert torch.equal(tensor, source[1][name]), name
    assert (made.run.checkpoints / "LAST").read_text().strip() == "step-00000000"
