"""The whole model on tiny checkpoints: outputs are per sample, sharing is real, parts are in place."""

import copy
from pathlib import Path

import pytest
import tiny
import torch
import toys

from u2a.data.feeding.batches import Collator, Sample
from u2a.errors import PluginError
from u2a.method.selection import select_tokens
from u2a.plugins.loading import registry
from u2a.recipe.file import load_recipe, parse_recipe
from u2a.recipe.sections import Recipe
from u2a.runs.build import base_identity, build_model, count_parameters
from u2a_image.spec import IMAGE

THREE = {
    "model": {"fusion": "sum"},
    "name": "three",
    "data": {"shards": "shards"},
    "task": {"classes": ["a", "b", "c"]},
    "modalities": {
        "image": {"encoder": "./clip", "resolution": 32},
        "text": {"encoder": "./bert", "max_length": 12},
        "video": {"encoder": "./clip", "resolution": 32, "frames": 2},
    },
    "training": {"batch_size": 4, "epochs": 6, "lr": 1e-3},
}


def three(checkpoints: dict[str, Path], *sets: str) -> Recipe:
    return parse_recipe(copy.deepcopy(THREE), sets, source="three", folder=checkpoints["clip"].parent)


def examples(recipe: Recipe, names: tuple[str, ...], seed: int) -> dict[str, object]:
    members = {
        "image": tiny.image_bytes(tiny.picture(seed=seed)),
        "text": b"the old sea and two friends"[: 7 + 5 * seed],
        "video": tiny.clip_bytes(tiny.numbered_frames(5 + seed)),
    }
    made = {n: registry().spec(n).preprocessor(recipe.modalities[n]) for n in names}
    return {n: made[n](members[n], train=False, seed=0) for n in names}


def batch_of(recipe: Recipe, presences: list[tuple[str, ...]], first: int = 0):
    names = tuple(recipe.modalities)
    preprocessors = {n: registry().spec(n).preprocessor(recipe.modalities[n]) for n in names}
    samples = [
        Sample(i, str(i), examples(recipe, p, first + i), tuple(n in p for n in names), (0,))
        for i, p in enumerate(presences)
    ]
    return Collator(preprocessors, 3, multi_label=False)(samples)


@pytest.mark.parametrize("mask_tokens", ["shared", "per_target"])
def test_a_samples_output_does_not_depend_on_its_companions(
    checkpoints: dict[str, Path], mask_tokens: str
) -> None:
    recipe = three(checkpoints, f"model.mask_tokens={mask_tokens}")
    model = build_model(recipe).eval()
    presences = [("image", "text", "video"), ("text",), ("image", "video"), ("video",), ("image", "text")]
    with torch.inference_mode():
        together = batch_of(recipe, presences)
        whole = model(together.inputs, together.present_BM)
        for i, presence in enumerate(presences):
            alone = batch_of(recipe, [presence], first=i)
            single = model(alone.inputs, alone.present_BM)
            torch.testing.assert_close(single.logits_BC[0], whole.logits_BC[i], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(single.mask_BMMD[0], whole.mask_BMMD[i], rtol=1e-4, atol=1e-5)


def test_a_missing_modality_is_never_encoded(checkpoints: dict[str, Path]) -> None:
    recipe = three(checkpoints)
    model = build_model(recipe).eval()
    rows: list[int] = []
    embeddings = model.branches[0].backbone.embeddings
    embeddings.register_forward_hook(lambda module, args, out: rows.append(len(out)))
    batch = batch_of(recipe, [("image", "text"), ("text",), ("text", "video")])
    output = model(batch.inputs, batch.present_BM)
    assert rows == [1]
    assert not output.cls_BMD[1:, 0].any()


def test_modalities_with_one_checkpoint_share_its_frozen_tensors_and_nothing_else(
    checkpoints: dict[str, Path],
) -> None:
    model = build_model(three(checkpoints))
    image, _, video = model.branches
    frozen = {p.data_ptr() for p in image.backbone.parameters() if not p.requires_grad}
    other = {p.data_ptr() for p in video.backbone.parameters() if not p.requires_grad}
    assert frozen == other
    adapters = {p.data_ptr() for p in image.backbone.parameters() if p.requires_grad}
    assert adapters
    assert not adapters & {p.data_ptr() for p in video.backbone.parameters() if p.requires_grad}
    parts = {part.name: part for part in count_parameters(model)}
    assert parts["image.encoder"].total > 0
    assert parts["video.encoder"].total == 0
    assert parts["video.lora"].learnable == parts["image.lora"].learnable > 0


def test_changing_one_adapter_changes_its_modality_alone(checkpoints: dict[str, Path]) -> None:
    recipe = three(checkpoints)
    model = build_model(recipe).eval()
    batch = batch_of(recipe, [("image", "text", "video")] * 2)
    before = model(batch.inputs, batch.present_BM).cls_BMD.detach()
    with torch.no_grad():
        dict(model.branches[0].learnable())["blocks.00.v.lora_B"].add_(1.0)
    after = model(batch.inputs, batch.present_BM).cls_BMD.detach()
    changed = [bool((before[:, m] - after[:, m]).abs().max() > 1e-6) for m in range(3)]
    assert changed == [True, False, False]


def test_other_widths_get_one_projection(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    tiny.save_bert(tmp_path / "wide", width=48)
    recipe = three(checkpoints, f"modalities.text.encoder={tmp_path / 'wide'}")
    model = build_model(recipe).eval()
    parts = {part.name: part.learnable for part in count_parameters(model)}
    assert parts["image.projection"] == parts["video.projection"] == 32 * 48
    assert "text.projection" not in parts
    batch = batch_of(recipe, [("image", "text", "video"), ("text",)])
    assert model(batch.inputs, batch.present_BM).logits_BC.shape == (2, 3)


def test_bf16_keeps_learnable_tensors_and_outputs_in_float32(checkpoints: dict[str, Path]) -> None:
    recipe = three(checkpoints, "training.precision=bf16")
    model = build_model(recipe).eval()
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    frozen = {p.dtype for b in model.branches for p in b.backbone.parameters() if not p.requires_grad}
    assert frozen == {torch.bfloat16}
    batch = batch_of(recipe, [("image", "text", "video"), ("video",)])
    asked = set()
    for branch in model.branches:
        branch.backbone.embeddings.register_forward_hook(
            lambda *_: asked.add((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        )
    rough = model(batch.inputs, batch.present_BM)
    assert asked == {(True, torch.bfloat16)}
    assert rough.cls_BMD.dtype == rough.logits_BC.dtype == torch.float32
    exact = build_model(three(checkpoints)).eval()(batch.inputs, batch.present_BM)
    assert (rough.cls_BMD - exact.cls_BMD).abs().max() < 0.15


def test_a_seed_fixes_the_start(checkpoints: dict[str, Path]) -> None:
    def head(seed: int) -> torch.Tensor:
        return build_model(three(checkpoints, f"seed={seed}")).head.weight

    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


def test_a_backbone_is_told_by_all_its_tensors_scalars_included() -> None:
    counting = torch.nn.BatchNorm1d(3)
    identity = base_identity(counting, IMAGE)
    assert identity == base_identity(torch.nn.BatchNorm1d(3), IMAGE)
    counting.num_batches_tracked += 1
    assert identity != base_identity(counting, IMAGE)


def test_a_missing_plugin_is_named_with_what_to_install(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    recipe = toys.make(tmp_path, checkpoints)
    with pytest.raises(Exception, match=r"modalities.sonar.*pip install u2a-plugin-sonar"):
        load_recipe(recipe, ["modalities.sonar.encoder=./clip"])
    with pytest.raises(PluginError, match="u2a-plugin-thermal-camera"):
        registry().spec("thermal_camera")


@pytest.mark.parametrize(
    ("sets", "found"),
    [([], 1), (["model.mask_tokens=per_target"], 3), (["model.fusion=per_modality"], 3)],
)
def test_as_many_mask_tokens_are_kept_as_there_are_different_ones(
    checkpoints: dict[str, Path], sets: list[str], found: int
) -> None:
    assert build_model(three(checkpoints, *sets)).distinct_targets == found


@pytest.mark.parametrize(("precision", "inside"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("fusion", ["sum", "per_modality"])
def test_only_the_branches_compute_in_bfloat16_and_only_when_asked(
    checkpoints: dict[str, Path], precision: str, inside: torch.dtype, fusion: str
) -> None:
    recipe = three(checkpoints, f"training.precision={precision}", f"model.fusion={fusion}")
    model, seen = build_model(recipe).eval(), set()
    for branch in model.each_branch():
        layer = next(part for part in branch.modules() if isinstance(part, torch.nn.Linear))
        layer.register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    batch = batch_of(recipe, [("image", "text"), ("text", "video")])
    assert {part.dtype for part in model(batch.inputs, batch.present_BM)} == {torch.float32}
    assert seen == {inside}


def test_behind_a_closed_gate_nothing_stands_in(checkpoints: dict[str, Path]) -> None:
    recipe = three(checkpoints, "model.fusion=per_modality")
    model = build_model(recipe).eval()
    batch = batch_of(recipe, [("image",), ("text", "video")])
    with torch.no_grad():
        for weight in model.head.each_weight():
            weight.normal_()
        cls_BMD, mask_BMMD = torch.randn(2, 3, model.width), torch.randn(2, 3, 3, model.width)
        for gate in (1.0, 0.0):
            model.read_outs.gate.fill_(gate)
            selected_BMD = select_tokens(cls_BMD, gate * mask_BMMD, batch.present_BM)
            found = model.classify(cls_BMD, mask_BMMD, batch.present_BM)
            torch.testing.assert_close(found, model.head(selected_BMD))


def test_a_branch_that_gives_another_number_of_samples_is_named(checkpoints: dict[str, Path]) -> None:
    recipe = three(checkpoints)
    batch = batch_of(recipe, [("image", "text"), ("text", "video")])
    with pytest.raises(PluginError, match="gave 2 samples for 1"):
        build_model(recipe)(batch.inputs, batch.present_BM & torch.tensor([[True], [False]]))
