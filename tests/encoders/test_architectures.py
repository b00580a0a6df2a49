"""Every supported architecture, from a tiny random checkpoint, against transformers' own forward pass."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import tokenizers
import torch
import transformers as hf
from four import invoke
from safetensors.torch import load_file
from torch import Tensor, nn

import u2a
from u2a.contract.modality import ModalitySpec, Tokens
from u2a.encoders.loading import transformers_class
from u2a.errors import U2AError
from u2a.method.adapters import inject_lora, lora_parameters, share_frozen
from u2a.method.branch import class_token
from u2a_audio.spec import AUDIO
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT
from u2a_video.spec import VIDEO

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = {**SIZES, "image_size": 32, "patch_size": 8}
WORDS = {**SIZES, "vocab_size": 40, "max_position_embeddings": 24, "pad_token_id": 1}

#: model_type -> (record, class in transformers, values of its configuration)
IMAGES: dict[str, tuple[str, dict]] = {
    "clip_vision_model": ("CLIPVisionModel", PICTURE),
    "metaclip_2_vision_model": ("MetaClip2VisionModel", PICTURE),
    "siglip_vision_model": ("SiglipVisionModel", PICTURE),
    "siglip2_vision_model": ("Siglip2VisionModel", {**SIZES, "patch_size": 8, "num_patches": 16}),
    "vit": ("ViTModel", PICTURE),
    "deit": ("DeiTModel", PICTURE),
    "beit": ("BeitModel", {**PICTURE, "use_relative_position_bias": True}),
    "data2vec-vision": ("Data2VecVisionModel", {**PICTURE, "use_shared_relative_position_bias": True}),
    "vit_mae": ("ViTMAEModel", PICTURE),
    "vit_msn": ("ViTMSNModel", PICTURE),
    "ijepa": ("IJepaModel", PICTURE),
    "dinov2": ("Dinov2Model", PICTURE),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {**PICTURE, "num_register_tokens": 3}),
    "dinov3_vit": ("DINOv3ViTModel", {**PICTURE, "num_register_tokens": 2}),
}
TEXTS: dict[str, tuple[str, dict]] = {
    "bert": ("BertModel", WORDS),
    "roberta": ("RobertaModel", WORDS),
    "xlm-roberta": ("XLMRobertaModel", WORDS),
    "camembert": ("CamembertModel", WORDS),
    "electra": ("ElectraModel", {**WORDS, "embedding_size": 16}),
    "distilbert": (
        "DistilBertModel",
        {
            "vocab_size": 40,
            "dim": 32,
            "n_layers": 2,
            "n_heads": 2,
            "hidden_dim": 48,
            "max_position_embeddings": 24,
            "pad_token_id": 1,
        },
    ),
    "mpnet": ("MPNetModel", WORDS),
    "deberta-v2": (
        "DebertaV2Model",
        {
            **WORDS,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": (
        "ModernBertModel",
        {**WORDS, "local_attention": 4, "num_hidden_layers": 4, "global_attn_every_n_layers": 2},
    ),
    "nomic_bert": ("NomicBertModel", WORDS),
    "gte": ("GteModel", WORDS),
    "eurobert": (
        "EuroBertModel",
        {**WORDS, "num_key_value_heads": 2, "mask_token_id": 4, "bos_token_id": 0, "eos_token_id": 2},
    ),
    "esm": (
        "EsmModel",
        {
            **WORDS,
            "position_embedding_type": "rotary",
            "mask_token_id": 4,
            "emb_layer_norm_before": False,
            "token_dropout": True,
        },
    ),
    "clip_text_model": ("CLIPTextModel", {**WORDS, "eos_token_id": 2, "bos_token_id": 0}),
    "metaclip_2_text_model": ("MetaClip2TextModel", {**WORDS, "eos_token_id": 2, "bos_token_id": 0}),
    "siglip_text_model": ("SiglipTextModel", WORDS),
    "siglip2_text_model": ("Siglip2TextModel", WORDS),
    "t5": (
        "T5EncoderModel",
        {
            "vocab_size": 40,
            "d_model": 32,
            "d_kv": 16,
            "d_ff": 48,
            "num_layers": 2,
            "num_heads": 2,
            "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 12,
            "pad_token_id": 1,
        },
    ),
}
WAVES = {
    **SIZES,
    "conv_dim": [16, 16],
    "conv_stride": [20, 16],
    "conv_kernel": [40, 16],
    "num_conv_pos_embeddings": 8,
}
WAVES |= {"num_feat_extract_layers": 2, "num_conv_pos_embedding_groups": 2, "conv_pos_kernel_size": 7}
SOUNDS: dict[str, tuple[str, dict]] = {
    "wav2vec2": ("Wav2Vec2Model", WAVES),
    "hubert": ("HubertModel", {**WAVES, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
    "data2vec-audio": ("Data2VecAudioModel", WAVES),
    "wavlm": ("WavLMModel", {**WAVES, "num_buckets": 8, "max_bucket_distance": 12}),
    "wav2vec2-bert": (
        "Wav2Vec2BertModel",
        {
            **SIZES,
            "conv_depthwise_kernel_size": 5,
            "left_max_position_embeddings": 4,
            "right_max_position_embeddings": 2,
        },
    ),
    "whisper": (
        "WhisperModel",
        {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "decoder_layers": 1,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 48,
            "max_source_positions": 30,
            "num_mel_bins": 20,
            "vocab_size": 40,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "decoder_start_token_id": 2,
        },
    ),
}
SOUNDS["wavlm:stable"] = (
    "WavLMModel",
    {**SOUNDS["wavlm"][1], "do_stable_layer_norm": True, "feat_extract_norm": "layer"},
)
for kind in ("relative", "rotary"):
    values = {**SOUNDS["wav2vec2-bert"][1], "position_embeddings_type": kind}
    SOUNDS[f"wav2vec2-bert:{kind}"] = ("Wav2Vec2BertModel", values)
VIDEOS: dict[str, tuple[str, dict]] = {
    "videomae": ("VideoMAEModel", {**PICTURE, "num_frames": 4}),
    "videomae:pretrained": ("VideoMAEModel", {**PICTURE, "num_frames": 4, "use_mean_pooling": False}),
    "vivit": ("VivitModel", {**PICTURE, "num_frames": 4, "tubelet_size": [2, 8, 8]}),
    "vjepa2": (
        "VJEPA2Model",
        {
            **{key: value for key, value in SIZES.items() if key != "intermediate_size"},
            "crop_size": 32,
            "patch_size": 8,
            "frames_per_clip": 4,
            "mlp_ratio": 2.0,
            "pred_hidden_size": 24,
            "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
        },
    ),
}
TABLES = {"image": IMAGES, "text": TEXTS, "audio": SOUNDS, "video": VIDEOS}


def _lacked(class_name: str) -> bool:
    try:
        transformers_class(class_name)
    except U2AError:
        return True
    return False


#: Older releases of transformers lack some of the classes.
LACKED = {name for table in TABLES.values() for name, (class_name, _) in table.items() if _lacked(class_name)}
ALL = [(spec, name) for spec in (IMAGE, TEXT, AUDIO, VIDEO) for name in TABLES[spec.name] if name not in LACKED]
#: Their own forward pass norms the class token only.
UNNORMED = ("clip_vision_model", "metaclip_2_vision_model")


def make(spec: ModalitySpec, name: str, folder: Path) -> Path:
    class_name, values = TABLES[spec.name][name]
    model_class = getattr(hf, class_name)
    torch.manual_seed(0)
    tiny.save(model_class(model_class.config_class(**values)), folder)
    name = name.split(":")[0]
    assert json.loads((folder / "config.json").read_text())["model_type"] == name
    if spec is TEXT:
        _tokenizer(folder)
    elif spec is AUDIO:
        extractors = {
            "whisper": hf.WhisperFeatureExtractor(feature_size=20),
            "wav2vec2-bert": hf.SeamlessM4TFeatureExtractor(),
        }
        extractors.get(name, hf.Wav2Vec2FeatureExtractor()).save_pretrained(folder)
    elif name == "siglip2_vision_model":
        hf.Siglip2ImageProcessor(patch_size=8, max_num_patches=20).save_pretrained(folder)
    elif name == "vjepa2":
        hf.VJEPA2VideoProcessor(crop_size=32).save_pretrained(folder)
    else:
        values = {
            "size": {"height": 32, "width": 32},
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "resample": 2,
        }
        tiny.write_json(
            folder, "preprocessor_config.json", {**values, "image_processor_type": "ViTImageProcessor"}
        )
    return folder


def _tokenizer(folder: Path) -> None:
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(f"w{n}" for n in range(30))]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def members(spec: ModalitySpec) -> list[bytes]:
    if spec is TEXT:
        return [b"w1 w2 w3", b"w4 w5 w6 w7 w8 w9 w10 w11", b"w12"]
    if spec is AUDIO:
        draw = np.random.default_rng(0)
        return [tiny.sound_bytes(draw.normal(0, 0.1, n).astype(np.float32)) for n in (3000, 4400)]
    if spec is VIDEO:
        return [tiny.clip_bytes(tiny.numbered_frames(n)) for n in (9, 14)]
    return [tiny.image_bytes(tiny.picture(40, height, seed=seed)) for seed, height in ((1, 40), (2, 90))]


class Loaded:
    """An encoder and its inputs as u2a has them, and transformers' own."""

    def __init__(self, spec: ModalitySpec, name: str, folder: Path) -> None:
        self.spec, self.name, self.folder = spec, name, make(spec, name, folder)
        self.options = spec.options.model_validate({"kind": spec.name, "encoder": str(folder)})
        self.backbone = spec.backbone(self.options, weights=True).eval()
        self.preprocessor = spec.preprocessor(self.options)
        self.inputs = self.batch(members(spec))

    def batch(self, chosen: list[bytes]) -> dict[str, Tensor]:
        return dict(self.preprocessor.collate([self.preprocessor(m, train=False, seed=0) for m in chosen]))

    def tokens(
        self, inputs: dict[str, Tensor], token_KD: Tensor | None = None, backbone: nn.Module | None = None
    ) -> tuple[Tokens, Tensor]:
        """Tokens without mask tokens, and hidden states with K of them appended (as the core does it)."""
        backbone = self.backbone if backbone is None else backbone
        plain = self.spec.embedding(backbone, inputs)
        if token_KD is None:
            return plain, self.spec.encoder(backbone, plain)
        more = token_KD.expand(len(plain.hidden_NLD), -1, -1)
        valid = plain.valid_NL
        if valid is not None:
            valid = torch.cat([valid, valid.new_ones(more.shape[:2])], 1)
        longer = replace(plain, hidden_NLD=torch.cat([plain.hidden_NLD, more], 1), valid_NL=valid)
        return plain, self.spec.encoder(backbone, longer)

    def reference(self) -> tuple[nn.Module, Tensor]:
        class_name, _ = TABLES[self.spec.name][self.name]
        model = getattr(hf, class_name).from_pretrained(self.folder).eval()
        inputs = dict(self.inputs)
        if self.name == "vjepa2":
            return model, model(inputs["pixel_values"], skip_predictor=True).last_hidden_state
        if self.name == "whisper":
            return model, model.encoder(**inputs).last_hidden_state
        if self.spec is AUDIO and "samples_P" in inputs:  # by itself it pads: each sound alone
            waves = [
                wave[None, :n] for wave, n in zip(inputs["input_values"], inputs["samples_P"], strict=True)
            ]
            rows = [model(wave).last_hidden_state[0] for wave in waves]
            return model, nn.utils.rnn.pad_sequence(rows, batch_first=True)
        if self.name == "vit_mae":
            model.config.mask_ratio = 0.0
            inputs["noise"] = torch.arange(16.0).expand(2, -1)
        hidden = model(**inputs).last_hidden_state
        if self.name == "beit":  # it pools by the mean, and its norm is the pooler's
            return model, model.pooler.layernorm(hidden)
        return model, model.post_layernorm(hidden) if self.name in UNNORMED else hidden


@pytest.fixture(scope="module", params=ALL, ids=[f"{spec.name}-{name}" for spec, name in ALL])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    spec, name = request.param
    return Loaded(spec, name, tmp_path_factory.mktemp(name) / "encoder")


@torch.no_grad()
def test_hidden_states_equal_transformers_own(loaded: Loaded) -> None:
    tokens, ours = loaded.tokens(loaded.inputs)
    _, wanted = loaded.reference()
    valid = torch.ones(ours.shape[:2], dtype=torch.bool) if tokens.valid_NL is None else tokens.valid_NL
    torch.testing.assert_close(ours[valid], wanted[valid], atol=1e-5, rtol=1e-5)
    assert loaded.spec.width(loaded.options) == ours.shape[-1] == 32
    torch.manual_seed(0)
    shared = share_frozen(loaded.backbone)  # a copy runs its own blocks
    loaded.backbone.get_submodule(loaded.spec.lora_targets(loaded.backbone)[0][0])
    assert torch.equal(loaded.tokens(loaded.inputs, backbone=shared)[1], ours)


@torch.no_grad()
def test_the_class_token_is_where_the_text_ends(tmp_path: Path) -> None:
    clip = Loaded(TEXT, "clip_text_model", tmp_path / "clip")
    plain, hidden = clip.tokens(clip.inputs)
    model, last = clip.reference()
    ends = (clip.inputs["input_ids"] == 2).int().argmax(1)  # "</s>"
    assert ends.tolist() == [4, 9, 2]
    torch.testing.assert_close(class_token(hidden, plain), last[torch.arange(3), ends], atol=1e-5, rtol=1e-5)
    siglip = Loaded(TEXT, "siglip_text_model", tmp_path / "siglip")
    plain, hidden = siglip.tokens(siglip.inputs)
    model, _ = siglip.reference()
    pooled = model(siglip.inputs["input_ids"]).pooler_output
    torch.testing.assert_close(model.head(class_token(hidden, plain)), pooled, atol=1e-5, rtol=1e-5)
    assert siglip.inputs["input_ids"].shape == (3, 24)


def test_a_tokenizer_that_does_not_end_a_text_is_refused_where_the_end_is_read(tmp_path: Path) -> None:
    folder = make(TEXT, "clip_text_model", tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(U2AError, match=r"tokenizer\.json: does not end every text"):
        TEXT.preprocessor(TEXT.options(kind="text", encoder=str(folder)))


@torch.no_grad()
def test_whisper_takes_fewer_frames_than_it_has_positions_for(tmp_path: Path) -> None:
    folder = make(AUDIO, "whisper", tmp_path)
    model = hf.WhisperModel.from_pretrained(folder).encoder.eval()
    options = AUDIO.options(kind="audio", encoder=str(folder), max_length=40)
    backbone = AUDIO.backbone(options, weights=True).eval()
    preprocessor = AUDIO.preprocessor(options)
    [values, *_] = [preprocessor(member, train=False, seed=0) for member in members(AUDIO)]
    assert values["input_features"].shape == (20, 40)
    hidden = AUDIO.encoder(backbone, AUDIO.embedding(backbone, preprocessor.collate([values])))
    model.config.max_source_positions = 20  # transformers' own, with the first of its positions
    model.embed_positions = nn.Embedding.from_pretrained(model.embed_positions.weight[:20])
    wanted = model(values["input_features"][None]).last_hidden_state
    torch.testing.assert_close(hidden, wanted, atol=1e-5, rtol=1e-5)
    for wrong in (41, 62):
        with pytest.raises(U2AError, match="an even number of at most 60 frames"):
            AUDIO.backbone(options.model_copy(update={"max_length": wrong}), weights=True)


@torch.no_grad()
def test_the_first_blocks_and_then_the_others_are_transformers_own(loaded: Loaded) -> None:
    """And a mask token that enters between them is at the end, seen by all that is real."""
    tokens = loaded.spec.embedding(loaded.backbone, loaded.inputs)
    begun = loaded.spec.first_blocks(loaded.backbone, tokens, 1)
    assert not torch.allclose(begun.hidden_NLD, tokens.hidden_NLD, atol=1e-4)
    ours, (_, wanted) = loaded.spec.encoder(loaded.backbone, begun), loaded.reference()
    valid = torch.ones(ours.shape[:2], dtype=torch.bool) if tokens.valid_NL is None else tokens.valid_NL
    torch.testing.assert_close(ours[valid], wanted[valid], atol=1e-5, rtol=1e-5)
    token_NKD = torch.linspace(-1, 1, 32).expand(len(ours), 1, 32)
    longer_valid = None if begun.valid_NL is None else nn.functional.pad(begun.valid_NL, (0, 1), value=True)
    longer = replace(begun, hidden_NLD=torch.cat([begun.hidden_NLD, token_NKD], 1), valid_NL=longer_valid)
    after = loaded.spec.encoder(loaded.backbone, longer)
    assert after.shape[1] == ours.shape[1] + 1
    assert ((after[:, :-1] - ours).abs().amax(-1)[valid] > 1e-6).all()


@torch.no_grad()
def test_padding_changes_nothing(loaded: Loaded) -> None:
    token = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    plain, together = loaded.tokens(loaded.inputs, token)
    L = plain.hidden_NLD.shape[1]
    own = class_token(together[:, :L], plain)
    for row, member in enumerate(members(loaded.spec)):
        one, alone = loaded.tokens(loaded.batch([member]), token)
        length = one.hidden_NLD.shape[1]
        torch.testing.assert_close(together[row, L:], alone[0, length:], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own[row], class_token(alone[:, :length], one)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_mask_token_attends_to_all_and_is_attended_to(loaded: Loaded) -> None:
    token = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    plain, with_token = loaded.tokens(loaded.inputs, token)
    _, without = loaded.tokens(loaded.inputs)
    L = plain.hidden_NLD.shape[1]
    valid = torch.ones(without.shape[:2], dtype=torch.bool) if plain.valid_NL is None else plain.valid_NL
    changed = (with_token[:, :L] - without).abs().amax(-1)
    assert (changed[valid] > 1e-6).all(), "every token sees the mask token"
    for place in range(L):  # the mask token sees every valid token, and no padding
        moved = replace(plain, hidden_NLD=plain.hidden_NLD.clone())
        moved.hidden_NLD[:, place] += torch.linspace(-1, 1, 32) * 3
        hidden = torch.cat([moved.hidden_NLD, token.expand(len(moved.hidden_NLD), 1, 32)], 1)
        longer_valid = None if plain.valid_NL is None else nn.functional.pad(plain.valid_NL, (0, 1), value=True)
        after = loaded.spec.encoder(loaded.backbone, replace(moved, hidden_NLD=hidden, valid_NL=longer_valid))
        seen = (after[:, -1] - with_token[:, -1]).abs().amax(-1) > 1e-7
        assert torch.equal(seen, valid[:, place]), place


@torch.no_grad()
def test_rotation_leaves_a_mask_token_as_it_is(tmp_path: Path) -> None:
    """transformers' own forward pass with the mask tokens as two more tokens, both at position 0."""
    euro = Loaded(TEXT, "eurobert", tmp_path / "eurobert")
    inputs = euro.batch([b"w1 w2 w3 w4 w5"])
    token_KD = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    _, ours = euro.tokens(inputs, token_KD)
    model, _ = euro.reference()
    embedded = torch.cat([model.embed_tokens(inputs["input_ids"]), token_KD[None]], 1)
    positions = torch.tensor([[*range(embedded.shape[1] - 2), 0, 0]])
    wanted = model(inputs_embeds=embedded, position_ids=positions).last_hidden_state
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5)


def test_lora_changes_the_output_and_each_projection_learns(loaded: Loaded) -> None:
    adapted = share_frozen(loaded.backbone)
    targets = loaded.spec.lora_targets(adapted)
    inject_lora(adapted, targets, rank=2, alpha=2, dropout=0.0)
    _, before = loaded.tokens(loaded.inputs)
    token = torch.zeros(1, 32)
    for name, parameter in lora_parameters(adapted, targets):
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(len(name)))
    adapted.train()  # as in training: no randomness but dropout's
    for module in adapted.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    plain, after = loaded.tokens(loaded.inputs, token, adapted)
    L = plain.hidden_NLD.shape[1]
    assert not torch.allclose(after[:, :L], before, atol=1e-3)
    (class_token(after[:, :L], plain).pow(2).sum() + after[:, L:].pow(2).sum()).backward()
    for name, parameter in lora_parameters(adapted, targets):
        assert parameter.grad is not None and math.isfinite(parameter.grad.abs().sum()), name  # noqa: PT018
        assert parameter.grad.abs().sum() > 0, name
    assert len(targets) == len(loaded.spec.lora_targets(loaded.backbone)) >= 2


def test_a_step_in_half_precision(loaded: Loaded) -> None:
    """As ``precision = "bf16"`` runs it: frozen tensors in bfloat16, adapters in float32, under autocast."""
    adapted = copy.deepcopy(loaded.backbone).bfloat16()
    targets = loaded.spec.lora_targets(adapted)
    inject_lora(adapted, targets, rank=2, alpha=2, dropout=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        plain, hidden = loaded.tokens(loaded.inputs, torch.ones(1, 32, dtype=torch.bfloat16), adapted)
    valid = (
        torch.ones(plain.hidden_NLD.shape[:2], dtype=torch.bool) if plain.valid_NL is None else plain.valid_NL
    )
    _, exact = loaded.tokens(loaded.inputs, torch.ones(1, 32))
    L = plain.hidden_NLD.shape[1]
    off = (hidden[:, :L].float() - exact[:, :L])[valid].abs().mean()
    assert off < 0.05, "the same to the precision of bfloat16"
    hidden.float().pow(2).mean().backward()
    for name, parameter in lora_parameters(adapted, targets):
        if name.endswith("lora_B"):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name  # noqa: PT018


@pytest.mark.parametrize(
    ("spec", "class_name", "part"),
    [
        (IMAGE, "SiglipModel", "vision_model"),
        (TEXT, "CLIPModel", "text_model"),
        (TEXT, "SiglipModel", "text_model"),
        (IMAGE, "MetaClip2Model", "vision_model"),
        (TEXT, "T5ForConditionalGeneration", "encoder"),
    ],
)
def test_of_a_whole_model_the_encoder_is_taken(
    tmp_path: Path, spec: ModalitySpec, class_name: str, part: str
) -> None:
    model_class = getattr(hf, class_name)
    towers = {"vision_config": PICTURE, "text_config": {**WORDS, "projection_dim": 16}, "projection_dim": 16}
    values = TEXTS["t5"][1] if class_name.startswith("T5") else towers
    whole = model_class(model_class.config_class(**values))
    folder = tiny.save(whole, tmp_path / "whole")
    backbone = spec.backbone(spec.options(kind=spec.name, encoder=str(folder)), weights=True)
    name = spec.lora_targets(backbone)[1][2]
    assert torch.equal(backbone.get_submodule(name).weight, getattr(whole, part).get_submodule(name).weight)


@pytest.mark.parametrize(
    ("spec", "model_type", "said"),
    [
        (TEXT, "gpt2", "it is a text model that reads from left to right only"),
        (TEXT, "vit", "it is an image model"),
        (IMAGE, "bert", "it is a text model"),
        (IMAGE, "swin", "it is an image model; its stages merge or convolve neighbours"),
        (IMAGE, "wav2vec2", "it is an audio model"),
        (IMAGE, "timesformer", "it is a video model; it divides tokens by frames"),
        (TEXT, "deberta", "supported here: deberta-v2, .*DeBERTa v2 and v3 are supported"),
        (TEXT, "none_such", r"'none_such' model; supported here: [a-z0-9_, -]*$"),
    ],
)
def test_what_is_not_supported_is_told_with_the_reason(
    tmp_path: Path, spec: ModalitySpec, model_type: str, said: str
) -> None:
    tiny.write_json(tmp_path, "config.json", {"model_type": model_type})
    with pytest.raises(U2AError, match=said) as error:
        spec.width(spec.options(kind=spec.name, encoder=str(tmp_path)))
    assert f"is a {model_type!r} model" in str(error.value)


def test_the_command_lists_what_is_tested_here() -> None:
    listed = json.loads(invoke("encoder", "list", "--json"))
    assert set(listed["text"]) == {*TEXTS, "clip", "metaclip_2", "siglip", "siglip2"}
    assert set(listed["audio"]) == {*(name.split(":")[0] for name in SOUNDS), "audio-spectrogram-transformer"}
    assert set(listed["image"]) == {*IMAGES, "clip", "siglip", "metaclip_2", "siglip2"}
    assert {name.split(":")[0] for name in VIDEOS} == set(listed["video"]) - set(listed["image"])
    assert "siglip2" not in listed["video"]
    assert listed["text"]["t5"] == listed["image"]["ijepa"] == "mean of the tokens"
    assert "modernbert" in invoke("encoder", "list")


@pytest.mark.parametrize("spec", [IMAGE, TEXT, AUDIO, VIDEO], ids=lambda spec: spec.name)
def test_a_run_with_every_architecture_scores_the_same_once_loaded(tmp_path: Path, spec: ModalitySpec) -> None:
    """All of a kind are modalities of one run, so that each is trained, saved, loaded and asked alone."""
    names = [name for name in TABLES[spec.name] if name not in LACKED]
    encoders = {f"m{n}": make(spec, name, tmp_path / f"m{n}") for n, name in enumerate(names)}
    recipe: dict = {
        "name": "all",
        "data": {"shards": str(tmp_path / "shards"), "workers": 0},
        "task": {"classes": ["a", "b"]},
        "modalities": {name: {"kind": spec.name, "encoder": str(folder)} for name, folder in encoders.items()},
        "training": {
            "epochs": 2,  # the head begins at zero, so that encoders learn from the second step on
            "batch_size": 2,
            "device": "cpu",
            "head_start": False,
            "modality_dropout": "off",
        },
    }
    some = members(spec)
    rows = [
        {"split": ("train", "test")[n > 1], "label": "ab"[n % 2], **dict.fromkeys(encoders, some[n % 2])}
        for n in range(4)
    ]
    u2a.pack(rows, recipe)
    model = u2a.train(recipe, run=tmp_path / "run")
    tensors = load_file(next((tmp_path / "run/checkpoints").glob("step-00000002")) / "adapter.safetensors")
    for name in encoders:
        moved = [
            tensor for key, tensor in tensors.items() if key.startswith(f"{name}.") and key.endswith("lora_B")
        ]
        assert moved, name
        assert all(tensor.any() for tensor in moved), name  # each projection learnt
    again = u2a.load(tmp_path / "run")
    assert again.evaluate().scores == model.evaluate().scores
    for name in encoders:
        assert again.predict({name: some[0]}) == model.predict({name: some[0]}), name


#: Sounds, films and texts are read in ways of their own; a sound's and a film's run are in the default run.
RUNS = [
    *((AUDIO, name) for name in ("wav2vec2", "hubert", "wavlm", "wav2vec2-bert", "whisper")),
    *((VIDEO, name) for name in ("videomae", "vivit", "vjepa2")),
    *((TEXT, name) for name in ("clip_text_model", "modernbert", "t5")),
    *((IMAGE, name) for name in ("siglip2_vision_model", "clip_vision_model")),
]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        pytest.param(spec, name, marks=() if name in ("wav2vec2", "videomae") else pytest.mark.slow)
        for spec, name in RUNS
    ],
    ids=[name for _, name in RUNS],
)
def test_a_run_of_each_kind_is_saved_predicts_the_same_and_goes_on(
    tmp_path: Path, checkpoints: dict[str, Path], spec: ModalitySpec, name: str
) -> None:
    folder = make(spec, name, tmp_path / "encoder")
    recipe: dict = {
        "name": "kind",
        "data": {"shards": str(tmp_path / "shards"), "workers": 0},
        "task": {"classes": ["a", "b"]},
        "modalities": {
            "one": {"kind": spec.name, "encoder": str(folder)},
            "two": {"kind": "text", "encoder": str(checkpoints["bert"])},
        },
        "training": {"epochs": 1, "batch_size": 2, "device": "cpu", "head_start": False},
    }
    some = members(spec)
    rows = [
        {"split": ("train", "test")[n > 3], "label": "ab"[n % 2], "two": f"the sea {n}"}
        | ({} if n == 2 else {"one": some[n % 2]})
        for n in range(6)
    ]
    u2a.pack(rows, recipe)
    model = u2a.train(recipe, run=tmp_path / "run")
    sample = {"one": some[0], "two": "the old sea"}
    given = [sample, {"one": some[1]}, {"two": "two friends"}]
    again = u2a.load(tmp_path / "run")
    assert [again.predict(one) for one in given] == [model.predict(one) for one in given]
    assert model.evaluate().n == 2
    longer = {**recipe, "training": {**recipe["training"], "epochs": 2}}
    further = u2a.train(longer, run=tmp_path / "run", resume=True)
    assert [further.predict(one) for one in given] != [model.predict(one) for one in given]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["type"] == "train"][-1] == 4
