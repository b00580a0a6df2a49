"""Classes whose first token is no class token, and classes that cannot be adapted, by their name alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import transformers as hf

import u2a
from u2a.errors import U2AError
from u2a.method.branch import class_token
from u2a.testing.checks import check_modality

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = {**SIZES, "image_size": 32, "patch_size": 8}
WORDS = {**SIZES, "vocab_size": 60, "max_position_embeddings": 64, "pad_token_id": 1}
T5 = {"vocab_size": 60, "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
SEW = {"conv_dim": [16, 16], "conv_stride": [20, 16], "conv_kernel": [40, 16], "num_feat_extract_layers": 2}
SEW |= {**SIZES, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "squeeze_factor": 1}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}
SERIES = {"num_input_channels": 1, "context_length": 64, "patch_length": 8, "d_model": 32, "ffn_dim": 48}
SERIES |= {"num_hidden_layers": 2, "num_attention_heads": 2}

FROM_LEFT_TO_RIGHT = {
    "CLIPTextModel": {**WORDS, "eos_token_id": 3},
    "LlamaModel": {**WORDS, "num_key_value_heads": 2},
    "Qwen2Model": {**WORDS, "num_key_value_heads": 2},
    "OPTModel": {**WORDS, "ffn_dim": 48, "word_embed_proj_dim": 32},
}
OF_WORDS_ALONE = {
    "T5EncoderModel": T5,
    "MT5EncoderModel": T5,
    "EuroBertModel": {**WORDS, "num_key_value_heads": 2},
}
REFUSED = {
    "UMT5EncoderModel": T5,
    "SEWModel": SEW,
    "Wav2Vec2ConformerModel": SEW,
    "SwinModel": {**SWIN, "window_size": 4},
    "HieraModel": {"image_size": [32, 32], "embed_dim": 16},
    "YolosModel": {**PICTURE, "image_size": [32, 32], "num_detection_tokens": 3},
    "MLCDVisionModel": {**PICTURE, "num_key_value_groups": 1},
    "PatchTSTModel": SERIES,
}


class Ready(u2a.PaddingCollate):
    """Letters between a first token that all texts have and a last one."""

    def __init__(self, options: u2a.PretrainedOptions) -> None:
        pass

    def __call__(self, member: bytes, *, train: bool, seed: int) -> dict[str, torch.Tensor]:
        if not member.isalpha() or not member.isascii():
            raise u2a.BadSample("letters only")
        return {"input_ids": torch.tensor([2, *(byte % 30 + 5 for byte in member), 3])}


def made(name: str, values: dict, folder: Path):
    """The modality, its options and backbone; and the model as transformers loads it."""
    model_class = getattr(hf, name)
    torch.manual_seed(0)
    tiny.save(model_class(model_class.config_class(**values)), folder)
    spec = u2a.transformers_modality("letters", name, ("txt",), Ready)
    options = spec.options.model_validate({"kind": "letters", "encoder": str(folder)})
    return spec, spec.backbone(options, weights=True).eval(), model_class.from_pretrained(folder).eval()


def texts(*members: bytes):
    return Ready(None).collate([Ready(None)(member, train=False, seed=0) for member in members])


@torch.no_grad()
@pytest.mark.parametrize("name", FROM_LEFT_TO_RIGHT)
def test_the_last_token_is_the_class_token_where_the_first_sees_nothing(tmp_path: Path, name: str) -> None:
    spec, backbone, model = made(name, FROM_LEFT_TO_RIGHT[name], tmp_path)
    inputs = texts(b"boat", b"lighthouse")
    tokens = spec.embedding(backbone, inputs)
    found = class_token(spec.encoder(backbone, tokens), tokens)
    wanted = model(**inputs).last_hidden_state
    assert torch.equal(wanted[0, 0], wanted[1, 0]), "the first is the same for every text"
    torch.testing.assert_close(found, torch.stack([wanted[0, 5], wanted[1, 11]]))
    alone = spec.embedding(backbone, texts(b"boat"))  # without padding, where transformers makes no mask
    alone = replace(alone, hidden_NLD=torch.cat([alone.hidden_NLD, torch.ones(1, 1, 32)], 1))
    both = replace(tokens, hidden_NLD=torch.cat([tokens.hidden_NLD, torch.ones(2, 1, 32)], 1))
    ours, beside = spec.encoder(backbone, alone), spec.encoder(backbone, both)
    torch.testing.assert_close(ours[0, [5, 6]], beside[0, [5, 12]])


@pytest.mark.parametrize("name", ["LlamaModel", "XmodModel"])
def test_such_a_class_passes_the_kit(tmp_path: Path, name: str) -> None:
    """And one whose blocks are handed something else before the mask."""
    values = {
        "LlamaModel": FROM_LEFT_TO_RIGHT["LlamaModel"],
        "XmodModel": {**WORDS, "default_language": "en_XX"},
    }
    spec, *_ = made(name, values[name], tmp_path)
    check_modality(spec, {"encoder": str(tmp_path)}, [b"boat", b"lighthouse", b"sea"], bad=[b"12"])


@torch.no_grad()
@pytest.mark.parametrize("name", OF_WORDS_ALONE)
def test_the_mean_is_the_class_token_where_texts_begin_with_a_word(tmp_path: Path, name: str) -> None:
    spec, backbone, model = made(name, OF_WORDS_ALONE[name], tmp_path)
    inputs = texts(b"boat", b"lighthouse")
    tokens = spec.embedding(backbone, inputs)
    wanted, mask = model(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
    means = (wanted * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(class_token(spec.encoder(backbone, tokens), tokens), means)


@torch.no_grad()
@pytest.mark.parametrize("name", REFUSED)
def test_a_class_that_cannot_be_adapted_is_refused_by_name(tmp_path: Path, name: str) -> None:
    values = {"input_ids": torch.full((2, 6), 7), "input_values": torch.randn(2, 4000) * 0.1}
    values |= {"pixel_values": torch.randn(2, 3, 32, 32), "past_values": torch.randn(2, 64, 1)}

    def embed() -> None:
        spec, backbone, model = made(name, REFUSED[name], tmp_path)
        spec.embedding(backbone, {model.main_input_name: values[model.main_input_name]})

    with pytest.raises(U2AError, match=f"^{name} .*use another class$") as error:
        embed()
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_masked_pretraining_is_off(tmp_path: Path) -> None:
    spec, backbone, model = made("ViTMAEModel", PICTURE, tmp_path)
    inputs = {"pixel_values": torch.randn(2, 3, 32, 32)}
    model.config.mask_ratio = model.embeddings.config.mask_ratio = 0.0
    wanted = model(**inputs).last_hidden_state.mean(1)
    for _ in range(2):
        found = spec.encoder(backbone, spec.embedding(backbone, inputs)).mean(1)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
