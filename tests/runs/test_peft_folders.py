"""Adapters that leave u2a as PEFT folders, and come back; PEFT and transformers are the reference."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from u2a.errors import U2AError
from u2a.method.branch import UnimodalBranch
from u2a.recipe.file import as_recipe
from u2a.runs.build import build_model
from u2a.runs.peft_folders import save_peft
from u2a.runs.peft_reading import load_peft

# PEFT asks transformers' models for what they call otherwise now.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CLASSES = {"bert": hf.BertModel, "clip": hf.CLIPVisionModel, "ast": hf.ASTModel, "modern": hf.ModernBertModel}
KINDS = {"bert": "text", "clip": "image", "ast": "audio", "modern": "text"}


@pytest.fixture(scope="module")
def encoders(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One whose projections are one layer, which u2a splits, beside the usual ones."""
    folder = tmp_path_factory.mktemp("modern")
    words = len(tiny.bert_vocabulary())
    config = hf.ModernBertConfig(
        **SIZES,
        intermediate_size=64,
        vocab_size=words,
        max_position_embeddings=24,
        attention_bias=True,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
    )
    tiny.save(hf.ModernBertModel(config), folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoints["bert"] / name, folder)
    return {**checkpoints, "modern": folder}


def branch_of(folder: Path, kind: str, seed: int = 1, **model: Any) -> UnimodalBranch:
    """A branch whose adapters do something."""
    recipe = as_recipe(
        {
            "name": "one",
            "data": {"shards": "none"},
            "task": {"classes": ["a", "b"]},
            "modalities": {kind: {"encoder": str(folder)}},
            "model": {"lora_rank": 2, "lora_alpha": 3.0, **model},
            "training": {"device": "cpu"},
        }
    )
    (branch,) = build_model(recipe).eval().each_branch()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in branch.learnable():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return branch


def inputs_of(name: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    if name == "clip":
        return {"pixel_values": torch.randn(2, 3, 32, 32, generator=generator)}
    if name == "ast":
        return {"input_values": torch.randn(2, 64, 32, generator=generator)}
    return {"input_ids": torch.randint(5, 40, (2, 9), generator=generator)}


def hidden(module: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return module(**inputs).last_hidden_state


@pytest.mark.parametrize("name", list(CLASSES))
def test_the_bare_encoder_with_the_folder_gives_the_same_hidden_states(
    encoders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    branch, inputs = branch_of(encoders[name], KINDS[name]), inputs_of(name)
    save_peft(branch, tmp_path)
    bare = CLASSES[name].from_pretrained(encoders[name]).eval()
    before = hidden(bare, inputs)
    adapted = PeftModel.from_pretrained(bare, tmp_path).eval()
    ours = hidden(branch.backbone, inputs)
    assert (hidden(adapted, inputs) - ours).abs().max() < 1e-5
    assert (before - ours).abs().max() > 0.01
    again = branch_of(encoders[name], KINDS[name], seed=5)
    load_peft(again, tmp_path)
    for (key, found), (_, wanted) in zip(again.learnable(), branch.learnable(), strict=True):
        if not key.startswith("blocks."):
            assert torch.equal(found, wanted), key
    assert (hidden(again.backbone, inputs) - ours).abs().max() < 1e-5


@pytest.mark.parametrize("how", ["plain", "rslora", "one layer's own", "with a head"])
def test_an_adapter_that_peft_trained(checkpoints: dict[str, Path], tmp_path: Path, how: str) -> None:
    headed = how == "with a head"
    kind = hf.BertForSequenceClassification if headed else hf.BertModel
    bare = kind.from_pretrained(checkpoints["bert"])
    config = LoraConfig(r=2, lora_alpha=5, target_modules=["query", "value"], use_rslora=how == "rslora")
    if how == "one layer's own":
        config.alpha_pattern = {"encoder.layer.1.attention.self.query": 9}
    theirs = get_peft_model(bare, config).eval()
    with torch.no_grad():
        for parameter in (p for name, p in theirs.named_parameters() if "lora_" in name):
            parameter.normal_(0, 0.3)
    theirs.save_pretrained(tmp_path)
    branch, inputs = branch_of(checkpoints["bert"], "text", lora_rank=4), inputs_of("bert")
    kept = branch.mask_tokens_KD.clone()
    load_peft(branch, tmp_path)
    encoder = theirs.base_model.model.bert if headed else theirs
    assert (hidden(branch.backbone, inputs) - hidden(encoder, inputs)).abs().max() < 1e-5
    assert torch.equal(branch.mask_tokens_KD, kept)


def test_what_does_not_fit_is_one_line_and_changes_nothing(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    branch = branch_of(checkpoints["bert"], "text")
    save_peft(branch, tmp_path)
    before = [p.clone() for _, p in branch.learnable()]
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    good, tensors = config.read_text(), load_file(weights)
    own = json.loads((tmp_path / "u2a.json").read_text())
    first = next(iter(tensors))

    def refused(says: str) -> None:
        with pytest.raises(U2AError, match=says) as caught:
            load_peft(branch, tmp_path)
        assert "\n" not in str(caught.value)
        assert all(torch.equal(a, b) for a, (_, b) in zip(before, branch.learnable(), strict=True))
        config.write_text(good)
        save_file(tensors, weights)

    config.write_text(json.dumps({**json.loads(good), "use_dora": True}))
    refused("use_dora is set; u2a's adapters are plain LoRA")
    config.write_text(json.dumps({**json.loads(good), "peft_type": "IA3"}))
    refused("is IA3")
    config.write_text(json.dumps({**json.loads(good), "alpha_pattern": {"(a+)+$": 3}}))
    refused("not a layer's name")
    config.write_text("{")
    refused("not an adapter folder of PEFT")
    save_file(
        {**tensors, "base_model.model.encoder.layer.0.output.dense.lora_A.weight": torch.ones(2, 64)}, weights
    )
    refused("adapts encoder.layer.0.output.dense, and u2a does not")
    save_file({k: v for k, v in tensors.items() if k != first}, weights)
    refused("is not whole")
    save_file({k: torch.cat([v, v], int("lora_B" in k)) for k, v in tensors.items()}, weights)
    refused("its rank is 4; set model.lora_rank = 4")
    weights.unlink()
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    refused("safe_serialization")
    (tmp_path / "u2a.json").write_text(json.dumps({**own, "base": {**own["base"], "sha256": "0" * 64}}))
    refused("was made with other weights than modality 'text' has")
