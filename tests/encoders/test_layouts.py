"""Folders and files that people name as an encoder and that are none: each in one line, with what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tiny

from u2a.encoders.files import weights_folder
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.training.encoder_check import check_encoders
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT

BERT = {"model_type": "bert", "hidden_size": 32}
CONFIG = json.dumps(BERT)
MODULES = json.dumps([{"idx": 0, "path": "0_Transformer"}, {"idx": 1, "path": "1_Pooling"}])
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
W = "model.safetensors"

#: what lies in the folder -> what is said of it
FOLDERS: dict[str, tuple[dict[str, str], str]] = {
    "empty": ({}, "is empty"),
    "sentence-transformers": (
        {"modules.json": MODULES, "0_Transformer/config.json": CONFIG, "1_Pooling/config.json": "{}"},
        r"sentence-transformers folder; .* encoder = \./e/0_Transformer$",
    ),
    "diffusers": ({"model_index.json": "{}", "unet/config.json": "{}"}, "diffusers pipeline; .*text_encoder"),
    "peft": ({"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "PEFT adapter alone: merge"),
    "peft beside a config": ({"config.json": CONFIG, "adapter_config.json": "{}"}, "adapter alone: merge it"),
    "cache of one": ({"snapshots/abc/config.json": CONFIG, "refs/main": "abc"}, "cache of one checkpoint"),
    "cache": ({"models--a--b/snapshots/x/config.json": CONFIG}, "hub's cache; .*models--a--b is one"),
    "trainer": ({"checkpoint-500/config.json": CONFIG}, r"several checkpoints .* = \./e/checkpoint-500$"),
    "run": ({"recipe.toml": "", "checkpoints/LAST": ""}, "run of u2a; .*training.start_from"),
    "open_clip": ({"open_clip_config.json": "{}", "open_clip_model.safetensors": ""}, "open_clip checkpoint"),
    "open_clip, pickled": ({"open_clip_pytorch_model.bin": ""}, "open_clip checkpoint"),
    "open_clip, config": ({"config.json": '{"model_cfg": {}, "preprocess_cfg": {}}'}, "open_clip checkpoint"),
    "timm": (
        {"config.json": '{"architecture": "vit_tiny", "num_features": 192, "pretrained_cfg": {}}', W: ""},
        r"timm checkpoint \(vit_tiny\)",
    ),
    "gguf": ({"model-q4.gguf": ""}, r"GGUF weights \(model-q4.gguf\)"),
    "gguf beside a config": (
        {"config.json": CONFIG, "m.gguf": ""},
        "no model.safetensors .*GGUF",
    ),
    "onnx": ({"model.onnx": ""}, r"ONNX graph \(model.onnx\), which cannot be adapted"),
    "onnx in a folder": ({"onnx/model.onnx": ""}, r"ONNX graph \(onnx/model.onnx\)"),
    "onnx beside a config": ({"config.json": CONFIG, "onnx/model.onnx": ""}, "it has an ONNX graph alone"),
    "tensorflow": ({"config.json": CONFIG, "tf_model.h5": ""}, "it has TensorFlow weights alone"),
    "flax": ({"config.json": CONFIG, "flax_model.msgpack": ""}, "it has Flax weights alone"),
    "saved model": ({"saved_model.pb": "", "variables/x": ""}, r"another library \(saved_model.pb\)"),
    "keras": ({"model.h5": ""}, r"another library \(model.h5\)"),
    "pytorch_model.bin": ({"config.json": CONFIG, "pytorch_model.bin": ""}, "u2a encoder convert .*e DIR"),
    "bin and no config": ({"pytorch_model.bin": ""}, r"has weights \(pytorch_model.bin\) and no config.json"),
    "safetensors alone": ({W: ""}, "has weights .* and no config.json, which says of what"),
    "authors' own": ({"params.json": "{}", "consolidated.00.pth": ""}, "as their authors published them"),
    "speechbrain": ({"hyperparams.yaml": "", "embedding_model.ckpt": ""}, "another library .hyperparams.yaml"),
    "nemo": ({"model.nemo": ""}, "another library .model.nemo"),
    "spacy": ({"config.cfg": "", "meta.json": "{}"}, "another library .config.cfg"),
    "mlx": ({"weights.npz": ""}, "another library .weights.npz"),
    "tokenizer": ({"tokenizer.json": "{}", "vocab.txt": ""}, r"holds a tokenizer alone \(tokenizer.json\)"),
    "sentencepiece": ({"spiece.model": ""}, r"holds a tokenizer alone \(spiece.model\)"),
    "processor": ({"preprocessor_config.json": "{}"}, "holds a processor alone"),
    "one folder up": ({"bert/config.json": CONFIG}, r"a folder in it has: encoder = \./e/bert$"),
    "no model_type": ({"config.json": "{}"}, "config.json without model_type"),
    "quantised": (
        {"config.json": json.dumps({**BERT, "quantization_config": {"quant_method": "gptq"}}), W: ""},
        r"is quantised \(gptq\), and cannot be adapted; use the original one",
    ),
    "git-lfs": ({"config.json": CONFIG, W: POINTER}, "pointer that git-lfs left .*: git lfs pull"),
    "a variant": (
        {"config.json": CONFIG, "model.fp16.safetensors": ""},
        "has model.fp16.safetensors, .*: call it",
    ),
    "parts alone": (
        {"config.json": CONFIG, "model-1-of-2.safetensors": "", "model-2-of-2.safetensors": ""},
        r"it has model-1-of-2.safetensors and others without model.safetensors.index.json: get that too",
    ),
    "an index of nothing": (
        {"config.json": CONFIG, f"{W}.index.json": '{"weight_map": ["a"]}'},
        "has no weight_map",
    ),
    "parts missing": (
        {"config.json": CONFIG, f"{W}.index.json": '{"weight_map": {"a": "model-1-of-2.safetensors"}}'},
        "names weight files that are not in the folder",
    ),
}
FILES = {
    "m.gguf": "is a GGUF file",
    "m.onnx": "is an ONNX graph, which cannot be adapted",
    "model.safetensors": "is a file of weights; name the folder",
    "pytorch_model.bin": "only pickle reads; .*: u2a encoder convert",
    "m.tar.gz": "is an archive; unpack it",
    "config.json": "is a file; name its folder",
    "README": "is a file; name the folder of a checkpoint",
}


def refused(encoder: str, folder: Path) -> str:
    """What is said of a value of ``encoder`` in a recipe in `folder`."""
    section = {"kind": "text", "encoder": encoder}
    options = TEXT.options.model_validate(section, context={"folder": str(folder)})
    try:
        TEXT.width(options)
        weights_folder(options)
    except U2AError as error:
        return str(error)
    return "nothing was said"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_says_what_it_is(tmp_path: Path, name: str) -> None:
    files, said = FOLDERS[name]
    (tmp_path / "e").mkdir()
    for path, content in files.items():
        (tmp_path / "e" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "e" / path).write_text(content)
    found = refused("./e", tmp_path)
    assert "\n" not in found
    assert re.search(said, found), found


@pytest.mark.parametrize("content", ["", "<html>Sign in</html>" * 99, "PK\x03\x04"])
def test_weights_that_are_none_are_to_be_got_again(tmp_path: Path, content: str) -> None:
    tiny.write_json(tmp_path, "config.json", BERT)
    (tmp_path / W).write_text(content)
    options = TEXT.options.model_validate({"kind": "text", "encoder": str(tmp_path)})
    with pytest.raises(
        U2AError, match=r"/model.safetensors is damaged or no safetensors file \(.*\): get it again"
    ):
        TEXT.backbone(options, weights=True)


@pytest.mark.parametrize(
    ("kind", "part", "model_type"),
    [
        ("llava", "vision_config", "clip_vision_model"),
        ("paligemma", "vision_config", "siglip_vision_model"),
        ("vision-encoder-decoder", "encoder", "vit"),
    ],
)
def test_of_a_model_of_pictures_and_texts_the_part_is_named(
    tmp_path: Path, kind: str, part: str, model_type: str
) -> None:
    config = {"model_type": kind, "text_config": {"model_type": "llama"}, part: {"model_type": model_type}}
    tiny.write_json(tmp_path, "config.json", config)
    options = IMAGE.options.model_validate({"kind": "image", "encoder": str(tmp_path)})
    with pytest.raises(
        U2AError, match=f"is a '{kind}' model; .*; its {part} is of a '{model_type}' model: save"
    ):
        IMAGE.width(options)


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    for written in (f"./{name}", name):  # without ./ as well: it is there
        assert re.search(FILES[name], refused(written, tmp_path))


def test_a_path_without_a_dot_is_a_path_if_something_is_there(tmp_path: Path) -> None:
    (tmp_path / "models/bert").mkdir(parents=True)
    (tmp_path / "models/bert/model.safetensors").write_text("")
    assert "has weights" in refused("models/bert", tmp_path)
    absent = refused("models/albert", tmp_path)
    assert "cannot be read from the hub" in absent
    assert "a folder is written ./models/albert; there is no checkpoint of that name" in absent


@pytest.mark.parametrize(
    ("kind", "model_type", "said"),
    [
        ("image", "bert", 'it is a text model; kind = "text" takes it'),
        ("image", "videomae", 'it is a video model; kind = "video" takes it'),
        ("text", "wav2vec2", 'it is an audio model; kind = "audio" takes it'),
        ("audio", "vit", 'it is an image model; kind = "depth" or "image" or "video" takes it'),
    ],
)
def test_a_checkpoint_of_another_modality_names_the_kind_that_takes_it(
    tmp_path: Path, kind: str, model_type: str, said: str
) -> None:
    (tmp_path / "e").mkdir()
    tiny.write_json(tmp_path / "e", "config.json", {"model_type": model_type})
    (tmp_path / "e/model.safetensors").write_text("")
    (tmp_path / "r.toml").write_text(
        f'name = "x"\n[data]\nshards = "s"\n[task]\nclasses = ["a", "b"]\n[modalities.one]\nkind = "{kind}"\n'
        'encoder = "./e"\n[modalities.two]\nkind = "text"\nencoder = "./gone"\n'
    )
    with pytest.raises(U2AError) as error:
        check_encoders(load_recipe(tmp_path / "r.toml"))
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert sorted(lines[0].split("; ")[-1].split()) == sorted(said.split("; ")[-1].split()), lines[0]
    assert said.split(";")[0] in lines[0]
    assert "/gone is not a folder: check the path" in lines[1]
