"""Modalities share frozen tensors by what their checkpoints are, whatever a plugin's author says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from four import invoke
from safetensors.torch import load_file, save_file

from u2a.method.model import U2A
from u2a.plugins.loading import registry
from u2a.recipe.file import load_recipe
from u2a.runs.build import build_model, count_parameters

RECIPE = """
name = "two"
[data]
shards = "none"
[task]
classes = ["a", "b"]
[modalities.left]
kind = "image"
encoder = "./a"
[modalities.right]
kind = "video"
encoder = "./b"
"""


def folders(tmp_path: Path, checkpoints: dict[str, Path], other: bool) -> Path:
    """The recipe's two encoders: copies of one, or of one shape with other weights."""
    for name in ("a", "b"):
        shutil.copytree(checkpoints["clip"], tmp_path / name)
    if other:
        path = tmp_path / "b" / "model.safetensors"
        changed = {name: tensor * 1.5 for name, tensor in load_file(path).items()}
        save_file(changed, path, metadata={"format": "pt"})
    (tmp_path / "two.toml").write_text(RECIPE)
    return tmp_path / "two.toml"


def built(recipe: Path) -> U2A:
    return build_model(load_recipe(recipe))


def weights(model: U2A) -> list[torch.Tensor]:
    return [branch.backbone.embeddings.patch_embedding.weight for branch in model.each_branch()]


def test_copies_of_one_checkpoint_are_one_in_memory(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    model = built(folders(tmp_path, checkpoints, other=False))
    left, right = (branch.backbone for branch in model.each_branch())
    assert weights(model)[0].data_ptr() == weights(model)[1].data_ptr()
    assert [part.total for part in count_parameters(model) if part.name == "right.encoder"] == [0]
    assert left is not right
    own = [{id(p) for _, p in branch.learnable()} for branch in model.each_branch()]
    assert not own[0] & own[1]


def test_a_constant_share_key_of_a_version_1_plugin_makes_no_two_checkpoints_one(
    tmp_path: Path, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("image", "video"):
        [(owner, spec)] = registry().modalities.brought[name]
        constant = replace(spec, share_key=lambda options: "all", api=1)
        monkeypatch.setitem(registry().modalities.brought, name, [(owner, constant)])
    model = built(folders(tmp_path, checkpoints, other=True))
    for branch, folder in zip(model.each_branch(), ("a", "b"), strict=True):
        wanted = tiny.hf.CLIPVisionModel.from_pretrained(tmp_path / folder).embeddings.patch_embedding.weight
        assert torch.equal(branch.backbone.embeddings.patch_embedding.weight, wanted)
    assert not torch.equal(*weights(model))


def test_what_one_modality_changes_of_a_checkpoint_is_its_own(
    tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        RECIPE.replace('"image"\nencoder = "./a"', f'"audio"\nencoder = "{checkpoints["ast"]}"').replace(
            '"video"\nencoder = "./b"', f'"audio"\nencoder = "{checkpoints["ast"]}"\nmax_length = 32'
        )
    )
    left, right = (branch.backbone for branch in built(recipe).each_branch())
    assert left.embeddings.position_embeddings.shape != right.embeddings.position_embeddings.shape
    projection = left.embeddings.patch_embeddings.projection
    assert projection.weight is right.embeddings.patch_embeddings.projection.weight


def test_counting_without_weights_counts_one_encoder_once(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    recipe = folders(tmp_path, checkpoints, other=True)
    assert "(shared" not in invoke("params", str(recipe))
    recipe.write_text(RECIPE.replace("./b", "./a"))
    assert "right.encoder (shared: counted above)" in invoke("params", str(recipe))
