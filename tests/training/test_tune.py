"""``tune`` in a recipe: adapters, nothing or all of an encoder, of those that its modality offers."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import toys
from safetensors.torch import load_file

import u2a
from u2a.errors import RecipeError, U2AError
from u2a.recipe.file import load_recipe
from u2a.runs.build import build_model, count_parameters
from u2a.training.schedule import build_optimizer


def test_each_modality_is_trained_as_its_section_says(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 8, "test": 4})
    sets = ["modalities.image.tune=full", "modalities.text.tune=frozen", "training.epochs=1"]
    model = u2a.train(recipe, run=tmp_path / "run", sets=sets)
    [kept] = (tmp_path / "run/checkpoints").glob("*/adapter.safetensors")
    saved, before = load_file(kept), load_file(checkpoints["clip"] / "model.safetensors")
    encoder = {name.removeprefix("image.backbone."): x for name, x in saved.items() if ".backbone." in name}
    assert encoder.keys() == before.keys(), "all of the image encoder, nothing of the text's"
    assert any(not x.equal(before[name]) for name, x in encoder.items()), "it learned"
    assert {name for name in saved if name.startswith("text.")} == {"text.mask_tokens"}
    sample = {"image": tiny.image_bytes(tiny.picture()), "text": "the old sea"}
    again = u2a.load(tmp_path / "run")
    for given in (sample, {"text": "the old sea"}):
        assert again.predict(given) == model.predict(given)
    with pytest.raises(U2AError, match=r"another recipe \(modalities\.image\.tune differ\)"):
        u2a.train(recipe, run=tmp_path / "run", sets=[*sets, "modalities.image.tune=lora"], resume=True)


def test_what_is_counted_as_learnable(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 4})
    counts = {}
    for tune in ("lora", "frozen", "full"):
        model = build_model(load_recipe(recipe, [f"modalities.image.tune={tune}"]), weights=False)
        counts[tune] = {part.name: (part.total, part.learnable) for part in count_parameters(model)}
    total = sum(x.numel() for x in load_file(checkpoints["clip"] / "model.safetensors").values())
    assert counts["lora"]["image.encoder"] == counts["frozen"]["image.encoder"] == (total, 0)
    assert counts["full"]["image.encoder"] == (total, total)
    assert (
        counts["lora"]["image.lora"] == (2 * 4 * 8 * (32 + 32),) * 2
    )  # blocks, projections, A and B of rank 8
    assert "image.lora" not in counts["frozen"] | counts["full"]


def test_a_pretrained_encoder_learns_slowly_and_one_from_nothing_does_not(
    tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 4})
    column = "modalities.row={kind = 'tabular', columns = {age = {mean = 1.0, std = 2.0}}}"
    loaded = load_recipe(recipe, [column, "modalities.image.tune=full", "training.lr=1e-3"])
    model = build_model(loaded)
    optimizer = build_optimizer(model, loaded.training)
    rates = {
        id(p): loaded.training.lr * group["factor"] for group in optimizer.param_groups for p in group["params"]
    }
    found = {
        branch.name: {rates[id(p)] for name, p in branch.learnable() if "backbone" in name or "lora" in name}
        for branch in model.each_branch()
    }
    assert found == {"image": {5e-5}, "text": {1e-3}, "row": {1e-3}}  # the toy's LoRA learns at 1 x lr


def test_what_a_modality_does_not_offer_is_refused(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 4})
    column = "modalities.row={kind = 'tabular', columns = {age = {mean = 1.0, std = 2.0}}, tune = 'lora'}"
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe, [column, "modalities.image.tune=all"])
    row, image = sorted(str(error.value).splitlines(), reverse=True)
    assert row.endswith('modalities.row: tune = "lora" is not offered; this modality has full')
    assert "modalities.image.tune: Input should be 'lora', 'frozen' or 'full' (got 'all')" in image
