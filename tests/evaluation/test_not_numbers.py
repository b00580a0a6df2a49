"""What is not a number gets no label and no score: one line says where it arose."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import tiny
import torch
import toys
from four import invoke as u2a_command
from safetensors.torch import load_file, save_file
from torch import nn

import u2a
from u2a.common.files import sha256_file
from u2a.errors import U2AError
from u2a.method.finite import explain_head
from u2a.method.skipping import SkippedSteps, gradient_advice
from u2a.runs import checkpoint
from u2a.runs.folder import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    recipe = toys.make(tmp_path_factory.mktemp("run"), checkpoints, counts={"train": 8, "test": 6})
    u2a.train(recipe, run=recipe.parent / "run", sets=["training.epochs=1"])
    return recipe.parent / "run"


def _set_nan(parameter: nn.Parameter) -> None:
    with torch.no_grad():
        parameter.view(-1)[0] = math.nan


def _overflow(model: u2a.Model, name: str) -> None:
    with torch.no_grad():
        next(model.network.each_branch()).backbone.get_submodule(name).weight.mul_(1e30)


FAULTS = {
    "head": (lambda m: _set_nan(m.network.head.bias), "the head's bias is not finite: its training diverged"),
    "mask token": (
        lambda m: _set_nan(next(m.network.each_branch()).mask_tokens_KD),
        "image: the learned mask_tokens is not finite",
    ),
    "adapter": (
        lambda m: _set_nan(dict(next(m.network.each_branch()).learnable())["blocks.01.v.lora_B"]),
        "image: the learned blocks.01.v.lora_B is not finite",
    ),
    "encoder": (
        lambda m: _set_nan(next(m.network.each_branch()).backbone.post_layernorm.weight),
        "image: the encoder's post_layernorm.weight is not finite",
    ),
    "overflow": (
        lambda m: [_overflow(m, f"encoder.layers.0.mlp.fc{i}") for i in (1, 2)],
        r"image: first in encoder\.layers\.0\.mlp\..* of its encoder; its weights and input are finite",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_prediction_and_scores_say_where_it_arose(run: Path, name: str) -> None:
    change, said = FAULTS[name]
    model = u2a.load(run)
    model.network.unmerge_lora()
    change(model)
    model.network.merge_lora()
    one = {"image": tiny.image_bytes(tiny.picture()), "text": "the sea"}
    for call in (
        lambda: model.predict(one),
        lambda: model.predict([{"text": "sea"}, one]),
        model.evaluate,
        model.sweep,
    ):
        with pytest.raises(U2AError, match=said) as error:
            call()
        assert "\n" not in str(error.value)
    if name not in ("head",):
        assert model.predict({"text": "the sea"}).labels  # what does not need it is as before


def test_advice_is_for_the_precision_that_is_used(run: Path) -> None:
    model = u2a.load(run)
    with torch.no_grad():
        model.network.head.weight.fill_(3e38)
    for bf16, said in ((True, "use training.precision = fp32"), (False, "look at the input's scale")):
        model.network.autocast = bf16
        assert explain_head(model.network).endswith(
            said if bf16 else f"so values overflow: {said} and normalisation"
        )


def test_the_sample_is_named_and_the_others_can_be_predicted(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = u2a.load(run)
    sound = model.predictor.read({"image": tiny.image_bytes(tiny.picture())})
    broken = {"image": {"pixel_values": sound["image"]["pixel_values"] * math.inf}}
    with pytest.raises(
        U2AError, match=r"sample 1: .*image: its input \(pixel_values\) holds values that are not"
    ):
        model.predictor.predict([sound, broken])
    with pytest.raises(U2AError, match="sample 1 and 1 more: "):
        model.predictor.predict([sound, broken, broken])
    assert model.predictor.predict([sound])


def test_the_command_line_prints_no_json_of_it(run: Path) -> None:
    folder = checkpoint.current(Run(run).checkpoints, "BEST")
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    tensors = load_file(folder / "adapter.safetensors")
    tensors["head.weight"][:] = math.nan
    save_file(tensors, folder / "adapter.safetensors")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["adapter.safetensors"] = sha256_file(folder / "adapter.safetensors")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    try:
        for words in (
            ("predict", run, "--text", "sea", "--json"),
            ("eval", run, "--json"),
            ("eval", run, "--sweep", "--json"),
        ):
            said = u2a_command(*words, code=2)
            assert said.startswith("error: ")
            assert "the head's weight is not finite" in said
            assert "{" not in said
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_a_diverging_training_ends_and_keeps_what_it_had(run: Path, tmp_path: Path) -> None:
    sets = ["training.epochs=30", "training.lr=1e30", "training.batch_size=4", "data.holdout=0.25"]
    with pytest.raises(U2AError, match=r"not finite|not a number|not numbers") as error:
        u2a.train(run.parent / "toy.toml", run=tmp_path / "run", sets=sets)
    assert "\n" not in str(error.value)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert all("NaN" not in line and "Infinity" not in line for line in lines)
    assert checkpoint.verify(checkpoint.current(tmp_path / "run/checkpoints", "LAST"))


def test_advice_fits_the_cause() -> None:
    assert "fp32" in gradient_advice(bf16=True, clipped=True)
    assert "clip_norm" not in gradient_advice(bf16=True, clipped=True)
    assert "fp32" not in gradient_advice(bf16=False, clipped=False)
    assert "clip_norm" in gradient_advice(bf16=False, clipped=False)


def test_one_percent_of_the_whole_run_may_be_skipped() -> None:
    steps = SkippedSteps(200)
    steps.add(5, "x")
    steps.add(90, "x")
    assert steps.said[-1] == "step 90: skipped, its gradient is not finite: x (2 of 200 steps so far)"
    with pytest.raises(U2AError, match="step 180: 3 of 200 steps were skipped, more than 1 %"):
        steps.add(180, "x")
