"""Checkpoints as people save them: with a head, wrapped, tied, quantised; against the model that was saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from u2a.contract.modality import ModalitySpec
from u2a.errors import CheckpointError
from u2a_audio.spec import AUDIO
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT
from u2a_video.spec import VIDEO

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = {**SIZES, "image_size": 32, "patch_size": 8}
WORDS = {**SIZES, "vocab_size": 40, "max_position_embeddings": 24, "pad_token_id": 1}
WAVES = {"conv_dim": [16, 16], "conv_stride": [20, 16], "conv_kernel": [40, 16], "num_feat_extract_layers": 2}
WAVES |= {**SIZES, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
WAVES |= {"tdnn_dim": [16] * 5, "xvector_output_dim": 8}
SPEECH = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
SPEECH |= {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48, "vocab_size": 40}
SPEECH |= {"max_source_positions": 30, "num_mel_bins": 20, "pad_token_id": 1, "decoder_start_token_id": 2}
DECODER = {"decoder_hidden_size": 24, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1}
T5 = {"vocab_size": 40, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 3, "num_heads": 2}

#: class as saved -> (modality, configuration, the encoder inside it, how its layers are counted)
HEADS: dict[str, tuple[ModalitySpec, dict, str, str]] = {
    "BertForMaskedLM": (TEXT, WORDS, "bert", "num_hidden_layers"),
    "T5ForConditionalGeneration": (TEXT, T5, "encoder", "num_layers"),
    "ViTForImageClassification": (IMAGE, PICTURE, "vit", "num_hidden_layers"),
    "BeitForMaskedImageModeling": (IMAGE, PICTURE, "beit", "num_hidden_layers"),
    "CLIPVisionModelWithProjection": (IMAGE, PICTURE, "vision_model", "num_hidden_layers"),
    "Wav2Vec2ForXVector": (AUDIO, WAVES, "wav2vec2", "num_hidden_layers"),
    "WhisperForConditionalGeneration": (AUDIO, SPEECH, "model.encoder", "encoder_layers"),
    "VideoMAEForPreTraining": (VIDEO, {**PICTURE, **DECODER, "num_frames": 4}, "videomae", "num_hidden_layers"),
}


def backbone(spec: ModalitySpec, folder: Path) -> nn.Module:
    return spec.backbone(spec.options.model_validate({"kind": spec.name, "encoder": str(folder)}), weights=True)


def saved(folder: Path, name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """A model with its head, saved; and the parameters of the encoder in it."""
    _, values, part, _ = HEADS[name]
    model_class = getattr(hf, name)
    model = model_class(model_class.config_class(**values))
    tiny.save(model, folder)
    return model, dict(model.get_submodule(part).named_parameters())


def changed(folder: Path, edit: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    tensors = edit(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("name", HEADS)
def test_a_model_with_a_head_gives_its_encoder(tmp_path: Path, name: str) -> None:
    spec, *_, layers = HEADS[name]
    _, wanted = saved(tmp_path / "e", name)
    found = dict(backbone(spec, tmp_path / "e").named_parameters())
    blocks = {key for key in wanted if ".0." in key or ".2." in key}
    assert blocks <= set(found)
    for key in set(found) & set(wanted):
        assert torch.equal(found[key], wanted[key]), key
    config = json.loads((tmp_path / "e/config.json").read_text())
    fewer = {key: value for key, value in config.items() if not key.startswith("out_")} | {layers: 2}
    tiny.write_json(tmp_path / "e", "config.json", fewer)  # a part of the network would be left out
    with pytest.raises(
        CheckpointError, match=r"tensors inside its network .* config.json \(e.g. its number of"
    ):
        backbone(spec, tmp_path / "e")


def test_what_lies_inside_the_encoder_of_a_model_with_a_head_is_not_passed_over(tmp_path: Path) -> None:
    name = "bert.encoder.layer.0.attention.self."
    for more, said in (
        ("query.lora_A.default.weight", "adapters are not merged"),
        ("distance_embedding.weight", "relative positions"),
        ("query.weight_scale_inv", "quantised"),
    ):
        saved(tmp_path / more, "BertForMaskedLM")
        changed(tmp_path / more, lambda tensors, more=more: {**tensors, name + more: torch.ones(2, 2)})
        with pytest.raises(CheckpointError, match=f"1 tensors inside its network.*{more}.*{said}"):
            backbone(TEXT, tmp_path / more)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "0.auto_model.", "base_model.model."])
@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertModel"])
def test_what_was_put_before_every_name_is_taken_off(tmp_path: Path, prefix: str, name: str) -> None:
    _, wanted = saved(tmp_path / "e", "BertForMaskedLM")
    if name == "BertModel":
        changed(tmp_path / "e", lambda tensors: {k[5:]: v for k, v in tensors.items() if k.startswith("bert.")})
    changed(tmp_path / "e", lambda tensors: {prefix + key: tensor for key, tensor in tensors.items()})
    found = dict(backbone(TEXT, tmp_path / "e").named_parameters())
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        *(("BertForMaskedLM", p) for p in ("net.backbone.", "encoder.", "0.auto_model.", "module.model.bert.")),
        ("ViTForImageClassification", "model.vit."),
        ("Wav2Vec2ForXVector", "encoder.model."),
    ],
)
def test_an_encoder_beside_what_somebody_built_on_it_is_found(tmp_path: Path, name: str, prefix: str) -> None:
    """As Lightning and sentence-transformers save one with a head of another library's."""
    spec, _, part, _ = HEADS[name]
    _, wanted = saved(tmp_path / "e", name)
    head = {
        "head.weight": torch.ones(3, 32),
        "2.linear.weight": torch.ones(4, 32),
        "temperature": torch.ones(1),
    }
    changed(
        tmp_path / "e",
        lambda tensors: (
            {prefix + k[len(part) + 1 :]: v for k, v in tensors.items() if k.startswith(part)} | head
        ),
    )
    found = dict(backbone(spec, tmp_path / "e").named_parameters())
    shared = found.keys() & wanted.keys()
    assert len(shared) > 0.9 * len(wanted)  # without a pooler, say
    assert all(torch.equal(found[key], wanted[key]) for key in shared)
    more = f"{prefix}encoder.layer.0.attention.lora_A.default.weight"
    changed(tmp_path / "e", lambda tensors: {**tensors, more: torch.ones(2, 2)})
    with pytest.raises(CheckpointError, match=r"1 tensors inside its network.*adapters are not merged"):
        backbone(spec, tmp_path / "e")


@pytest.mark.parametrize("wrapper", ["_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod"])
def test_blocks_that_were_wrapped_one_by_one_are_read(tmp_path: Path, wrapper: str) -> None:
    _, wanted = saved(tmp_path / "e", "BertForMaskedLM")
    changed(
        tmp_path / "e",
        lambda tensors: {
            k.replace("encoder.layer.1.", f"encoder.layer.1.{wrapper}."): v for k, v in tensors.items()
        },
    )
    found = dict(backbone(TEXT, tmp_path / "e").named_parameters())
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_of_several_such_networks_none_is_taken(tmp_path: Path) -> None:
    saved(tmp_path / "e", "BertForMaskedLM")
    changed(
        tmp_path / "e",
        lambda tensors: {
            f"{who}.{k[5:]}": v.clone() for who in ("student", "teacher") for k, v in tensors.items()
        },
    )
    with pytest.raises(CheckpointError, match=r"holds several such networks \(student\., teacher\.\)"):
        backbone(TEXT, tmp_path / "e")


def test_names_that_fit_nothing_are_shown(tmp_path: Path) -> None:
    saved(tmp_path / "e", "BertForMaskedLM")
    changed(
        tmp_path / "e",
        lambda tensors: {f"teacher.{k}s": v for k, v in tensors.items()} | {"x.y": torch.ones(1)},
    )
    with pytest.raises(
        CheckpointError, match=r"lacks .* a complete BertModel checkpoint\? It has .* teacher\.bert"
    ):
        backbone(TEXT, tmp_path / "e")


@pytest.mark.parametrize("beside", [True, False])
@torch.no_grad()
def test_an_older_files_second_configuration_counts_as_in_the_whole_model(tmp_path: Path, beside: bool) -> None:
    """``vision_config_dict`` of early CLIP files; transformers' whole model is the reference."""
    folder = tiny.save_whole_clip(tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config_dict"] = {**config["vision_config"], "hidden_act": "gelu", "layer_norm_eps": 0.01}
    config["vision_config"] = {**config["vision_config"]} if beside else {"model_type": "clip_vision_model"}
    tiny.write_json(folder, "config.json", config)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    whole = hf.CLIPModel.from_pretrained(folder).vision_model.eval()
    wanted = whole.post_layernorm(whole(pixels).last_hidden_state)
    module = backbone(IMAGE, folder).eval()
    found = IMAGE.encoder(module, IMAGE.embedding(module, {"pixel_values": pixels}))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused_by_name(tmp_path: Path, dtype: torch.dtype) -> None:
    saved(tmp_path / "e", "BertForMaskedLM")
    name = "bert.encoder.layer.1.attention.self.key.weight"
    changed(tmp_path / "e", lambda tensors: {**tensors, name: tensors[name].to(dtype)})
    said = str(dtype).removeprefix("torch.")
    with pytest.raises(
        CheckpointError, match=rf"{name} is quantised \({said}\), .*; use the original checkpoint"
    ):
        backbone(TEXT, tmp_path / "e")


def test_a_tied_tensor_that_was_stored_once_is_read_under_each_name(tmp_path: Path) -> None:
    _, wanted = saved(tmp_path / "e", "T5ForConditionalGeneration")
    tensors = load_file(tmp_path / "e/model.safetensors")
    tensors["decoder.embed_tokens.weight"] = words = tensors.pop("shared.weight")
    same = {
        "shared.weight": "decoder.embed_tokens.weight",
        "format": "pt",
    }  # as safetensors' save_model notes it
    save_file(tensors, tmp_path / "e/model.safetensors", metadata=same)
    module = backbone(TEXT, tmp_path / "e")
    assert torch.equal(module.get_input_embeddings().weight, words)
    assert torch.equal(words, wanted["embed_tokens.weight"])
