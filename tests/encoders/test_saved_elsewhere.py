"""Encoders saved alone, by other trainers, or with an adapter; against the model that was saved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
import toys
import transformers as hf
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from u2a.cli.main import main
from u2a.encoders.convert import convert_checkpoint
from u2a.errors import CheckpointError, U2AError
from u2a.recipe.file import load_recipe
from u2a.training.encoder_check import check_encoders
from u2a_audio.spec import AUDIO
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT
from u2a_video.spec import VIDEO

T5 = {"vocab_size": 40, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
SPEECH = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
SPEECH |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "vocab_size": 40}
SPEECH |= {"max_source_positions": 30, "num_mel_bins": 20, "pad_token_id": 1, "decoder_start_token_id": 2}


def backbone(spec: Any, folder: Path) -> Any:
    return spec.backbone(
        spec.options.model_validate({"kind": spec.name, "encoder": str(folder)}), weights=True
    ).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_the_encoder_of_t5_saved_alone(tmp_path: Path, tied: bool) -> None:
    model = hf.T5ForConditionalGeneration(hf.T5Config(**T5, tie_word_embeddings=tied)).eval()
    model.get_encoder().save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        wanted = model.get_encoder()(input_ids=ids).last_hidden_state
        torch.testing.assert_close(backbone(TEXT, tmp_path)(input_ids=ids).last_hidden_state, wanted)


def test_the_encoder_of_whisper_saved_alone(tmp_path: Path) -> None:
    model = hf.WhisperForConditionalGeneration(hf.WhisperConfig(**SPEECH)).eval()
    model.get_encoder().save_pretrained(tmp_path)
    found = dict(backbone(AUDIO, tmp_path).named_parameters())
    wanted = dict(model.get_encoder().named_parameters())
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in found)
    (tmp_path / "model.safetensors").unlink()
    save_file({"conv1.bias": torch.zeros(32)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks \d+ weights that the model needs"):
        backbone(AUDIO, tmp_path)


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = {**SIZES, "image_size": 32, "patch_size": 8}
CLIP = {**PICTURE, "num_frames": 4}
#: class -> (modality, configuration, the encoder in it, its final norm as the author has it)
POOLED: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "BeitForImageClassification": (IMAGE, PICTURE, "beit", "beit.pooler.layernorm"),
    "BeitForMaskedImageModeling": (IMAGE, PICTURE, "beit", "layernorm"),
    "Data2VecVisionForImageClassification": (
        IMAGE,
        PICTURE,
        "data2vec_vision",
        "data2vec_vision.pooler.layernorm",
    ),
    "VideoMAEForVideoClassification": (VIDEO, CLIP, "videomae", "fc_norm"),
}


@torch.no_grad()
@pytest.mark.parametrize("name", POOLED)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_model_that_pools_by_the_mean_has_its_final_norm(tmp_path: Path, name: str, prefix: str) -> None:
    spec, values, part, norm = POOLED[name]
    model_class = getattr(hf, name)
    tiny.save(model_class(model_class.config_class(**values)), tmp_path)
    model = model_class.from_pretrained(tmp_path).eval()
    tensors = {prefix + key: x for key, x in load_file(tmp_path / "model.safetensors").items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    pixels = torch.randn(2, 4, 3, 32, 32) if spec is VIDEO else torch.randn(2, 3, 32, 32)
    wanted = model.get_submodule(norm)(model.get_submodule(part)(pixels).last_hidden_state)
    own = backbone(spec, tmp_path)
    tokens = spec.embedding(own, {"pixel_values": pixels})
    torch.testing.assert_close(spec.encoder(own, tokens), wanted)
    assert tokens.cls is None
    with torch.device("meta"):
        options = spec.options.model_validate({"kind": spec.name, "encoder": str(tmp_path)})
        empty = spec.backbone(options, weights=False).state_dict()
    assert empty.keys() == own.state_dict().keys()


@torch.no_grad()
def test_a_beit_that_reads_its_class_token_has_its_own_norm(tmp_path: Path) -> None:
    config = hf.BeitConfig(**PICTURE, use_mean_pooling=False)
    tiny.save(hf.BeitForImageClassification(config), tmp_path)
    model = hf.BeitForImageClassification.from_pretrained(tmp_path).eval()
    own, pixels = backbone(IMAGE, tmp_path), torch.randn(2, 3, 32, 32)
    tokens = IMAGE.embedding(own, {"pixel_values": pixels})
    torch.testing.assert_close(IMAGE.encoder(own, tokens), model.beit(pixels).last_hidden_state)
    assert tokens.cls == (0,)


def bert(folder: Path, checkpoints: dict[str, Path]) -> tuple[Path, dict[str, torch.Tensor]]:
    """A folder with all of BERT but its weights; and these."""
    shutil.copytree(checkpoints["bert"], folder)
    (folder / "model.safetensors").unlink()
    return folder, hf.BertModel.from_pretrained(checkpoints["bert"]).state_dict()


#: What a training writes around a state dict.
WRAPPED = {
    "last.ckpt": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 3},
    "model.pt": dict,
    "best.pth": lambda state: {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
    "pytorch_model.bin": lambda state: {"net": {"module": {f"module.{k}": v for k, v in state.items()}}},
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("by", ["folder", "file"])
def test_what_other_trainers_write_is_converted(tmp_path, checkpoints, name: str, by: str) -> None:
    folder, state = bert(tmp_path / "e", checkpoints)
    torch.save(WRAPPED[name](state), folder / name)
    torch.save({"step": torch.ones(1)}, folder / "optimizer.pt")
    with pytest.raises(U2AError, match=f"it has {name} instead, so convert it once: u2a encoder convert"):
        backbone(TEXT, folder)
    done = CliRunner().invoke(
        main, ["encoder", "convert", str(folder if by == "folder" else folder / name), str(tmp_path / "new")]
    )
    assert done.exit_code == 0, done.output
    found = backbone(TEXT, tmp_path / "new").state_dict()
    assert all(torch.equal(found[key], state[key]) for key in found)


def test_what_is_no_one_network_is_told(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    folder, state = bert(tmp_path / "e", checkpoints)

    def refused(said: str, source: Path = folder) -> None:
        with pytest.raises(U2AError, match=said):
            convert_checkpoint(str(source), tmp_path / "new")
        assert not (tmp_path / "new").exists()

    refused("no other file of weights: nothing to convert")
    torch.save({"teacher": state, "student": state}, folder / "dino.pth")
    refused(r"holds several networks \(student, teacher\)")
    torch.save({"epoch": 3, "lr": torch.ones(1)}, folder / "dino.pth")
    refused("is not a plain dict of tensors, nor holds one")
    torch.save(torch.nn.Linear(2, 2), folder / "whole.pt")
    refused(r"has several files of weights \(whole.pt, dino.pth\): name one of them")
    refused(r"whole.pt cannot be read safely: .*save the model's state_dict\(\) alone$", folder / "whole.pt")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_adapters_that_were_never_merged_are_named(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    folder, _ = bert(tmp_path / "e", checkpoints)
    base = hf.BertModel.from_pretrained(checkpoints["bert"])
    adapted = peft.get_peft_model(base, peft.LoraConfig(target_modules=["query", "value"]))
    state = {name: tensor.contiguous() for name, tensor in adapted.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"base_layer.* adapters are not merged into the weights; merge"):
        backbone(TEXT, folder)


def test_an_adapter_beside_its_base_is_said_not_to_be_applied(tmp_path, checkpoints) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 8})
    loaded = load_recipe(recipe)
    assert not check_encoders(loaded)
    tiny.write_json(tmp_path / "bert", "adapter_config.json", {"peft_type": "LORA"})
    [note] = check_encoders(loaded)
    assert note.startswith("modalities.text: encoder ")
    assert "has an adapter beside its weights, which is not applied" in note
    done = CliRunner().invoke(main, ["train", str(recipe), "--run", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert " ".join(done.output.split()).count("has an adapter beside its weights") == 1
