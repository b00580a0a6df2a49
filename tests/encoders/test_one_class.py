"""`transformers_modality` and `network_modality`: what they derive, against transformers' own forward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
import transformers as hf
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

import u2a
from u2a.contract.modality import ModalitySpec
from u2a.errors import CheckpointError, PluginError, U2AError
from u2a.method.adapters import inject_lora
from u2a.testing.checks import check_modality

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURE = {**SIZES, "image_size": 32, "patch_size": 8}
WORDS = {**SIZES, "vocab_size": 40, "max_position_embeddings": 24, "pad_token_id": 1}
WAVES = {
    **SIZES,
    "conv_dim": [16, 16],
    "conv_stride": [20, 16],
    "conv_kernel": [40, 16],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
#: class, values of its configuration, positions of its class tokens
CLASSES = [
    ("ViTModel", PICTURE, (0,)),
    ("DeiTModel", PICTURE, (0, 1)),
    ("BeitModel", {**PICTURE, "use_relative_position_bias": True, "use_mean_pooling": False}, (0,)),
    ("Data2VecVisionModel", {**PICTURE, "use_mean_pooling": False}, (0,)),
    ("SiglipVisionModel", PICTURE, None),
    ("CLIPVisionModel", PICTURE, (0,)),
    ("IJepaModel", PICTURE, None),
    ("Dinov2Model", PICTURE, (0,)),
    ("DINOv3ViTModel", {**PICTURE, "num_register_tokens": 2}, (0,)),
    ("BertModel", WORDS, (0,)),
    ("MPNetModel", WORDS, (0,)),
    ("ModernBertModel", WORDS, (0,)),
    ("EsmModel", {**WORDS, "position_embedding_type": "rotary", "emb_layer_norm_before": False}, (0,)),
    ("Wav2Vec2Model", WAVES, None),
    ("HubertModel", {**WAVES, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}, None),
    ("VivitModel", {**PICTURE, "num_frames": 4, "tubelet_size": [2, 8, 8], "hidden_act": "gelu"}, (0,)),
]
#: Their own forward pass norms the class token only.
UNNORMED = ("CLIPVisionModel",)


class Ready(u2a.PaddingCollate):
    """Bytes are the letters of a text; of anything else, the seed of random numbers."""

    def __init__(self, options: u2a.PretrainedOptions) -> None:
        self.longest = getattr(options, "longest", 20)

    def __call__(self, member: bytes, *, train: bool, seed: int) -> dict[str, torch.Tensor]:
        if not member.isalpha() or not member.isascii():
            raise u2a.BadSample("letters only")
        return {"input_ids": torch.tensor([2, *(byte % 30 + 5 for byte in member[: self.longest])])}


def spec_of(class_name: str) -> ModalitySpec:
    return u2a.transformers_modality("letters", class_name, ("txt",), Ready)


def save(class_name: str, values: dict, folder: Path) -> Path:
    model_class = getattr(hf, class_name)
    torch.manual_seed(0)
    return tiny.save(model_class(model_class.config_class(**values)), folder)


def options(spec: ModalitySpec, folder: Path, **more: object):
    return spec.options.model_validate({"kind": spec.name, "encoder": str(folder), **more})


def inputs_of(class_name: str) -> dict[str, torch.Tensor]:
    model_class = getattr(hf, class_name)
    draw = torch.Generator().manual_seed(3)
    if model_class.main_input_name == "input_ids":
        return Ready(None).collate([Ready(None)(m, train=False, seed=0) for m in (b"boat", b"lighthouse")])
    if model_class.main_input_name == "input_values":
        return {"input_values": torch.randn(2, 4000, generator=draw) * 0.1}
    shape = (2, 4, 3, 32, 32) if class_name == "VivitModel" else (2, 3, 32, 32)
    return {"pixel_values": torch.randn(shape, generator=draw)}


@torch.no_grad()
@pytest.mark.parametrize(("class_name", "values", "cls"), CLASSES, ids=[one[0] for one in CLASSES])
def test_a_class_by_its_name_computes_what_transformers_computes(tmp_path, class_name, values, cls):
    folder = save(class_name, values, tmp_path / "encoder")
    spec = spec_of(class_name)
    chosen = options(spec, folder)
    backbone = spec.backbone(chosen, weights=True).eval()
    inputs = inputs_of(class_name)
    model = getattr(hf, class_name).from_pretrained(folder).eval()
    before = torch.get_rng_state()
    wanted = model(**inputs).last_hidden_state
    draws = not torch.equal(
        torch.get_rng_state(), before
    )  # older transformers: for dropped layers, of which none is
    torch.set_rng_state(before)
    tokens = spec.embedding(backbone, inputs)
    assert draws or torch.equal(torch.get_rng_state(), before)
    ours = spec.encoder(backbone, tokens)
    wanted = model.post_layernorm(wanted) if class_name in UNNORMED else wanted
    valid = torch.ones(ours.shape[:2], dtype=torch.bool) if tokens.valid_NL is None else tokens.valid_NL
    torch.testing.assert_close(ours[valid], wanted[valid], atol=1e-5, rtol=1e-5)
    assert tokens.cls == cls
    mask_NL = inputs.get("attention_mask")
    assert (tokens.valid_NL is None) == (mask_NL is None)
    assert mask_NL is None or torch.equal(tokens.valid_NL, mask_NL.bool())
    assert spec.width(chosen) == 32
    targets = spec.lora_targets(backbone)
    assert len(targets) == 2
    inject_lora(backbone, targets, rank=1, alpha=1, dropout=0.0)
    torch.testing.assert_close(spec.encoder(backbone, spec.embedding(backbone, inputs)), ours)


def test_such_a_modality_passes_the_kit(tmp_path):
    spec = spec_of("BertModel")
    folder = save("BertModel", WORDS, tmp_path / "encoder")
    check_modality(spec, {"encoder": str(folder)}, [b"boat", b"sea", b"lighthouse"], bad=[b"12"])


def test_what_it_refuses(tmp_path):
    with pytest.raises(PluginError, match="give the class's name, 'BertModel'"):
        u2a.transformers_modality("x", hf.BertModel, ("txt",), Ready)
    with pytest.raises(PluginError, match=r"must inherit u2a\.PretrainedOptions"):
        u2a.transformers_modality("x", "BertModel", ("txt",), Ready, options=u2a.ModalityOptions)
    folder = save("BertModel", WORDS, tmp_path / "encoder")
    misspelt, other, right = spec_of("BertModell"), spec_of("EsmModel"), spec_of("BertModel")
    with pytest.raises(
        PluginError, match=r"transformers \S+ has no class 'BertModell'; .*--upgrade transformers"
    ):
        misspelt.width(options(misspelt, folder))
    with pytest.raises(U2AError, match="is a 'bert' model; supported here: esm; it is a text model"):
        other.backbone(options(other, folder), weights=True)
    backbone = right.backbone(options(right, folder), weights=True)
    inputs = {"input_ids": torch.full((1, 5), 7), "attention_mask": torch.ones(1, 9)}
    with pytest.raises((PluginError, RuntimeError, ValueError)):
        right.embedding(backbone, inputs)


def test_a_part_of_a_composite_checkpoint_is_taken(tmp_path):
    folder = tiny.save_whole_clip(tmp_path / "clip")
    spec = spec_of("CLIPVisionModel")
    assert spec.width(options(spec, folder)) == 32
    backbone = spec.backbone(options(spec, folder), weights=True)
    assert spec.embedding(backbone, inputs_of("CLIPVisionModel")).hidden_NLD.shape[-1] == 32


def test_examples_of_equal_shape_are_stacked_and_series_padded():
    collate = u2a.PaddingCollate().collate
    picture = {"pixel_values": torch.zeros(3, 4, 4)}
    assert {name: tuple(x.shape) for name, x in collate([picture, picture]).items()} == {
        "pixel_values": (2, 3, 4, 4)
    }
    found = collate([{"x": torch.ones(2, 5)}, {"x": torch.ones(3, 5)}])
    assert found["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert found["x"][0, 2].tolist() == [0] * 5
    with pytest.raises(PluginError, match="'pixel_values' has shapes that cannot be padded"):
        collate([picture, {"pixel_values": torch.zeros(3, 4, 5)}])


class Sizes(u2a.ModalityOptions):
    size: int = Field(8, description="width of the network")


class Frozen(u2a.PretrainedOptions):
    size: int = Field(8, description="width of the network")


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_NLD, valid_NL):
        mask = None if valid_NL is None else valid_NL[:, None]
        mixed = nn.functional.scaled_dot_product_attention(
            self.q_proj(x_NLD), self.k_proj(x_NLD), self.v_proj(x_NLD), attn_mask=mask
        )
        return self.norm(x_NLD + self.out_proj(mixed))


class Net(nn.Module):
    def __init__(self, options: Sizes | Frozen) -> None:
        super().__init__()
        self.width = options.size
        self.letters, self.places = nn.Embedding(40, self.width), nn.Embedding(24, self.width)
        self.blocks = nn.ModuleList(Block(self.width) for _ in range(2))

    def embed(self, input_ids, attention_mask=None):
        hidden = self.letters(input_ids) + self.places(torch.arange(input_ids.shape[1]))
        return u2a.Tokens(hidden, None if attention_mask is None else attention_mask.bool())

    def encode(self, hidden_NLD, valid_NL):
        for block in self.blocks:
            hidden_NLD = block(hidden_NLD, valid_NL)
        return hidden_NLD


def network(options: Sizes | Frozen) -> nn.Module:
    return Net(options)


def frozen(tmp_path: Path, **changes: torch.Tensor) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file({**Net(Frozen(kind="x", encoder="./x")).state_dict(), **changes}, folder / "model.safetensors")
    return folder


def test_a_network_of_ones_own_is_trained_whole_or_adapted(tmp_path):
    whole = u2a.network_modality("letters", network, ("txt",), Ready, options=Sizes)
    assert whole.tune == "full"
    members = [b"boat", b"sea", b"lighthouse"]
    check_modality(whole, {"size": 16}, members, bad=[b"12"])
    adapted = u2a.network_modality("letters", network, ("txt",), Ready, options=Frozen)
    assert adapted.tune == ("lora", "frozen", "full")
    chosen = {"encoder": str(frozen(tmp_path))}
    check_modality(adapted, chosen, members, bad=[b"12"])
    targets = adapted.lora_targets(Net(Sizes(kind="x")))
    assert targets[1] == [f"blocks.1.{name}_proj" for name in ("q", "k", "v", "out")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks.2.q.weight": torch.ones(2)}, "has 1 tensors inside its network that Net does not use"),
        (
            {"letters.weight": torch.full((40, 8), float("nan"))},
            "letters.weight holds 320 values that are not finite",
        ),
        ({"letters.weight": torch.ones(3, 8)}, "cannot be loaded: .*size mismatch for letters.weight"),
    ],
)
def test_a_checkpoint_that_does_not_fit_a_network_is_refused(tmp_path, changes, said):
    spec = u2a.network_modality("letters", network, ("txt",), Ready, options=Frozen)
    with pytest.raises(CheckpointError, match=said):
        spec.backbone(options(spec, frozen(tmp_path, **changes)), weights=True)


def test_what_a_network_lacks_is_named():
    spec = u2a.network_modality("letters", lambda options: nn.Linear(2, 2), ("txt",), Ready)
    with pytest.raises(PluginError, match="Linear has no embed"):
        spec.backbone(None, weights=True)
    with pytest.raises(PluginError, match=r"no nn\.Linear called q, k, v or o"):
        spec.lora_targets(nn.Sequential(nn.Linear(2, 2)))
    fused = nn.ModuleDict({"q": nn.Linear(2, 2), "o": nn.Linear(2, 2)})
    with pytest.raises(PluginError, match=r"has not one nn.Linear each .*found \['o', 'q'\]"):
        spec.lora_targets(fused)
