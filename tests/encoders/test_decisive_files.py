"""What decides an encoder's output is obeyed as transformers and tokenizers do, or refused; never guessed."""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import pytest
import tiny
import tokenizers
import torch
import toys
import transformers as hf
from four import invoke as u2a_command
from PIL import Image
from safetensors.torch import load_file, save_file

import u2a
from u2a.errors import BadSample, CheckpointError, U2AError
from u2a.method.adapters import share_frozen
from u2a_audio.spec import AUDIO
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT


def options(spec, folder: Path, **more):
    return spec.options.model_validate({"kind": spec.name, "encoder": str(folder), **more})


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


# ------------------------------------------------------------------------------------------------- tokenizers
def ids(folder: Path, text: str, **more) -> list[int]:
    return TEXT.preprocessor(options(TEXT, folder, **more))(text.encode(), train=False, seed=0)[
        "input_ids"
    ].tolist()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"tokenizer_class": "BertTokenizer"},
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True},
        {"tokenizer_class": "RobertaTokenizer"},
        {"tokenizer_class": "NoSuchTokenizer"},
    ],
)
@pytest.mark.parametrize("cased", [True, False])
def test_tokenizer_json_decides_the_ids_whatever_the_other_file_says(tmp_path, checkpoints, config, cased):
    folder = copied(checkpoints["bert"], tmp_path / "b")
    state = json.loads((folder / "tokenizer.json").read_text())
    state["normalizer"] = {**state["normalizer"], "lowercase": not cased}
    (folder / "tokenizer.json").write_text(json.dumps(state))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    wanted = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode("The SEA xy").ids
    assert ids(folder, "The SEA xy") == wanted
    assert (wanted[1] == tiny.bert_vocabulary().index("[UNK]")) == cased


@pytest.mark.parametrize("model", [hf.BertModel, hf.XLMRobertaModel])
@pytest.mark.parametrize(
    "config", [{}, {"tokenizer_class": "RobertaTokenizer"}, {"tokenizer_class": "BertTokenizer"}]
)
def test_a_unigram_tokenizer_beside_any_model_is_read_as_it_is(tmp_path, model, config):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    folder = tiny.save(model(model.config_class(**sizes, vocab_size=40)), tmp_path / "m")
    tiny.save_unigram(folder, config)
    assert ids(folder, "Red ship") == [0, 14, 5, 2]


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_are_cut_on_the_side_that_transformers_cuts(tmp_path, checkpoints, side):
    folder = copied(checkpoints["bert"], tmp_path / "b")
    edit(folder / "tokenizer_config.json", truncation_side=side)
    text = "two friends find a small red boat"
    wanted = hf.AutoTokenizer.from_pretrained(folder)(text, truncation=True, max_length=5)["input_ids"]
    assert ids(folder, text, max_length=5) == wanted


def test_the_beginning_of_a_text_is_kept_where_no_file_says_otherwise(tmp_path, checkpoints):
    folder = copied(checkpoints["bert"], tmp_path / "b")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("truncation_side", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert json.loads((folder / "tokenizer.json").read_text())["truncation"] is None
    text = "two friends find a small red boat"
    whole = ids(folder, text)
    assert ids(folder, text, max_length=5) == [*whole[:4], whole[-1]]


def test_texts_are_cut_at_512_tokens_or_where_positions_end(tmp_path, checkpoints):
    for positions, most in ((24, 24), (512, 512), (600, 512)):
        folder = copied(checkpoints["bert"], tmp_path / str(positions))
        edit(folder / "config.json", max_position_embeddings=positions)
        assert TEXT.preprocessor(TEXT.options(kind="text", encoder=str(folder))).max_length == most
        assert len(ids(folder, "sea " * 700)) == most


def test_tokenizers_that_do_not_fit_are_refused_by_file_and_key(tmp_path, checkpoints):
    def refused(name: str, change: Callable[[Path], object], said: str) -> None:
        folder = copied(checkpoints["bert"], tmp_path / name)
        change(folder)
        with pytest.raises(U2AError, match=said) as error:
            TEXT.preprocessor(options(TEXT, folder))
        assert "\n" not in str(error.value)

    def without_class_token(folder: Path) -> None:
        state = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps({**state, "post_processor": None}))

    def more_words(folder: Path) -> None:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.add_tokens(["extra"])
        tokenizer.save(str(folder / "tokenizer.json"))

    rows = len(tiny.bert_vocabulary())
    refused("a", without_class_token, r"tokenizer\.json: puts no class token before a text")
    refused(
        "b",
        more_words,
        rf"tokenizer\.json: gives 'extra' the id {rows}, but config\.json's vocab_size is {rows}",
    )
    refused("c", lambda f: edit(f / "tokenizer_config.json", cls_token="[MASK]"), r"cls_token is '\[MASK\]'")
    refused("d", lambda f: edit(f / "tokenizer_config.json", truncation_side="top"), "truncation_side is 'top'")
    refused("e", lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer\.json cannot be read")


def test_capitals_that_would_be_lost_or_never_read_are_told(tmp_path, checkpoints):
    """vocab.txt alone is lower-cased by its class; sentence-transformers lower-cases beside its tokenizer."""
    folder = copied(checkpoints["bert"], tmp_path / "vocabulary")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert ids(folder, "The Sea") == ids(checkpoints["bert"], "the sea")  # its words have no capitals
    with (folder / "vocab.txt").open("a") as words:
        words.write("Sea\nThe\n")
    tiny.write_json(
        folder, "config.json", {**json.loads((folder / "config.json").read_text()), "vocab_size": 99}
    )
    with pytest.raises(
        U2AError, match=r"words in capitals \('Sea'\), and neither tokenizer\.json nor do_lower"
    ):
        ids(folder, "The Sea")
    tiny.write_json(
        folder, "tokenizer_config.json", {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    )
    assert ids(folder, "The Sea")[1:-1] == [len(tiny.bert_vocabulary()) + 1, len(tiny.bert_vocabulary())]
    tiny.write_json(folder, "sentence_bert_config.json", {"max_seq_length": 8, "do_lower_case": False})
    ids(folder, "The Sea")
    tiny.write_json(folder, "sentence_bert_config.json", {"max_seq_length": 8, "do_lower_case": True})
    with pytest.raises(U2AError, match=r"sentence_bert_config\.json: do_lower_case is true, .* keeps capitals"):
        ids(folder, "The Sea")
    (folder / "vocab.txt").rename(folder / "spm.model")
    with pytest.raises(U2AError, match=r"has spm\.model and no tokenizer\.json; write one once"):
        ids(folder, "The Sea")


def test_threads_and_lengths_share_no_state(checkpoints):
    text, wrong = b"red boat " * 30, []
    readers = [(n, TEXT.preprocessor(options(TEXT, checkpoints["bert"], max_length=n))) for n in (4, 9, 20)]

    def read(length: int, reader) -> None:
        wrong.extend(1 for _ in range(300) if len(reader(text, train=False, seed=0)["input_ids"]) != length)

    threads = [threading.Thread(target=read, args=one) for one in readers * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_tokenizer_that_was_changed_is_read_again(tmp_path, checkpoints):
    folder = copied(checkpoints["bert"], tmp_path / "b")
    before = ids(folder, "SEA")
    state = json.loads((folder / "tokenizer.json").read_text())
    state["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(state))
    assert ids(folder, "SEA") != before


# ------------------------------------------------------------------------------------------- image processors
PROCESSORS = {
    "clip": {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 24}, "do_center_crop": True},
    "old clip": {"size": 32, "crop_size": 32, "feature_extractor_type": "CLIPFeatureExtractor"},
    "old vit": {"size": 32, "feature_extractor_type": "ViTFeatureExtractor"},
    "squeezed": {"size": {"height": 24, "width": 40}, "image_processor_type": "ViTImageProcessor"},
    "deit": {
        "size": {"height": 40, "width": 40},
        "crop_size": 32,
        "image_processor_type": "DeiTImageProcessor",
    },
    "padded": {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 80, "width": 72}},
    "cropped": {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 20, "width": 30}},
    "bytes": {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    "other scale": {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
    "as it is": {"do_normalize": False, "do_rescale": False},
    "grey": {"image_mean": 0.45, "image_std": 0.2},
    "dinov3": {"size": {"height": 32, "width": 32}, "image_processor_type": "DINOv3ViTImageProcessorFast"},
    **{f"filter {n}": {"resample": n, "size": {"height": 24, "width": 24}} for n in range(6)},
}
COMMON = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 2}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("nested", [False, True])
def test_pixels_equal_transformers_own_image_processor(tmp_path, checkpoints, name, nested):
    folder = copied(checkpoints["vit"], tmp_path / "v")
    values = {**COMMON, **PROCESSORS[name]}
    if "feature_extractor_type" in values:
        del values["image_processor_type"]
    (folder / "preprocessor_config.json").unlink()
    file = "processor_config.json" if nested else "preprocessor_config.json"
    (folder / file).write_text(json.dumps({"image_processor": values} if nested else values))
    kind = str(values.get("image_processor_type") or values["feature_extractor_type"])
    kind = kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
    by_pillow = name in ("filter 1", "filter 4", "filter 5")  # torch has none of them, or another
    kept = {key: value for key, value in values.items() if key != "feature_extractor_type"}
    image = tiny.picture(64, 48)
    plain = {"image_mean": [0.45] * 3, "image_std": [0.2] * 3} if name == "grey" else {}
    reference = getattr(hf, kind + "Pil" * by_pillow)(**{**kept, **plain})(image, return_tensors="pt")[
        "pixel_values"
    ][0]
    ours = IMAGE.preprocessor(options(IMAGE, folder))(tiny.image_bytes(image), train=False, seed=0)[
        "pixel_values"
    ]
    assert ours.shape == reference.shape
    spread = float(reference.max() - reference.min())
    assert (ours - reference).abs().max() < 1e-4 * spread


def test_training_pictures_have_the_size_of_evaluation(tmp_path, checkpoints):
    folder = copied(checkpoints["vit"], tmp_path / "v")
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**COMMON, "size": {"height": 24, "width": 40}})
    )
    reader = IMAGE.preprocessor(options(IMAGE, folder))
    member = tiny.image_bytes(tiny.picture(64, 48))
    assert {tuple(reader(member, train=True, seed=s)["pixel_values"].shape) for s in range(5)} == {(3, 24, 40)}
    square = IMAGE.preprocessor(options(IMAGE, folder, resolution=16))
    assert square(member, train=False, seed=0)["pixel_values"].shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"resample": 7}, "resample: must be one of Pillow's filters, 0 to 5"),
        ({"resample": "cubic"}, "resample: must be"),
        ({"image_mean": [0.5, 0.5]}, "image_mean: must be a list of three numbers"),
        ({"image_mean": [0.5, math.nan, 0.5]}, "image_mean: must be"),
        ({"image_std": [0.5, 0.0, 0.5]}, "image_std: must be a list of three positive numbers"),
        ({"rescale_factor": 0}, "rescale_factor: must be a positive number"),
        ({"do_normalize": "no"}, "do_normalize: must be true or false"),
        ({"do_align_axis": True}, "do_align_axis: is not known to u2a"),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, "do_center_crop: is false"),
        ({"size": {"height": 0, "width": 32}}, "size"),
        ({"do_center_crop": True, "crop_size": {"height": 3.5, "width": 4}}, "crop_size"),
        ({"image_processor_type": "os.system"}, "image_processor_type: 'os.system' is no image processor"),
    ],
)
def test_values_that_mean_nothing_are_named(tmp_path, checkpoints, values, said):
    folder = copied(checkpoints["vit"], tmp_path / "v")
    (folder / "preprocessor_config.json").write_text(json.dumps({**COMMON, **values}))
    with pytest.raises(U2AError, match=f"preprocessor_config.json: .*{said}"):
        IMAGE.preprocessor(options(IMAGE, folder))


def test_pictures_of_another_size_are_refused_where_nothing_scales_them(tmp_path, checkpoints):
    folder = copied(checkpoints["vit"], tmp_path / "v")
    (folder / "preprocessor_config.json").write_text(json.dumps({**COMMON, "do_resize": False}))
    reader = IMAGE.preprocessor(options(IMAGE, folder))
    assert reader(tiny.image_bytes(tiny.picture(32, 32)), train=False, seed=0)["pixel_values"].shape == (
        3,
        32,
        32,
    )
    with pytest.raises(
        BadSample, match="is 48 x 40; the encoder's do_resize is false, so it takes 32 x 32 only"
    ):
        reader(tiny.image_bytes(tiny.picture(48, 40)), train=False, seed=0)


# -------------------------------------------------------------------------------------------- position tables
@pytest.mark.parametrize(
    ("size", "patch"), [((16, 64), 8), ((48, 16), 8), ((32, 32), (8, 16)), ((24, 48), (8, 16))]
)
@pytest.mark.parametrize("model", [hf.ViTModel, hf.Dinov2Model])
@torch.no_grad()
def test_position_tables_are_interpolated_from_their_own_grid(tmp_path, model, size, patch):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = model.config_class(
        **sizes, image_size=list(size), patch_size=patch if isinstance(patch, int) else list(patch)
    )
    folder = tiny.save(model(config), tmp_path / "m")
    module = IMAGE.backbone(options(IMAGE, folder), weights=True).eval()
    shared = share_frozen(module)
    down, across = (patch, patch) if isinstance(patch, int) else patch
    grid, wanted = (size[0] // down, size[1] // across), (32 // down, 64 // across)
    table = module.embeddings.position_embeddings[:, 1:].unflatten(1, grid).permute(0, 3, 1, 2)
    right = torch.nn.functional.interpolate(table, size=wanted, mode="bicubic").flatten(2).transpose(1, 2)
    hidden = IMAGE.embedding(shared, {"pixel_values": torch.zeros(1, 3, 32, 64)}).hidden_NLD[:, 1:]
    torch.testing.assert_close(
        hidden - module.embeddings.patch_embeddings.projection.bias, right, atol=1e-5, rtol=0
    )
    native = IMAGE.embedding(module, {"pixel_values": torch.zeros(1, 3, *size)}).hidden_NLD
    torch.testing.assert_close(
        native[:, 1:] - module.embeddings.patch_embeddings.projection.bias,
        module.embeddings.position_embeddings[:, 1:],
    )


def test_a_spectrogram_has_the_length_of_the_position_table_and_says_so(tmp_path, checkpoints):
    folder = copied(checkpoints["ast"], tmp_path / "a")
    edit(folder / "preprocessor_config.json", max_length=1024)
    reader = AUDIO.preprocessor(options(AUDIO, folder))
    sound = reader(tiny.sound_bytes(np.sin(np.arange(16000) / 9).astype(np.float32)), train=False, seed=0)
    module = AUDIO.backbone(options(AUDIO, folder), weights=True)
    tokens = AUDIO.embedding(module, reader.collate([sound]))
    assert sound["input_values"].shape == (64, 32)
    assert tokens.hidden_NLD.shape == (1, 2 + 2 * 5, 32)
    assert "max_length is 1024 frames, but config.json has positions for 64" in reader.notes[0]
    edit(folder / "preprocessor_config.json", num_mel_bins=128)
    with pytest.raises(U2AError, match=r"num_mel_bins is 128, but config\.json's is 32"):
        AUDIO.preprocessor(options(AUDIO, folder))


def test_a_feature_extractor_nested_in_processor_config_is_read(tmp_path, checkpoints):
    folder = copied(checkpoints["ast"], tmp_path / "a")
    values = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"feature_extractor": {**values, "mean": 1.5}}))
    assert AUDIO.preprocessor(options(AUDIO, folder)).mean == 1.5


# ----------------------------------------------------------------------------------------- tensors left over
LEFT_OVER = {
    "relative positions": ("encoder.layer.0.attention.self.distance_embedding.weight", "relative positions"),
    "adapters": ("encoder.layer.0.attention.self.query.lora_A.default.weight", "adapters are not merged"),
    "bottlenecks": ("encoder.layer.1.output.adapters.x.weight", "adapters are not merged"),
    "further layers": ("encoder.layer.2.attention.self.query.weight", "number of layers"),
    "embeddings": ("embeddings.projection.weight", "config.json"),
}


@pytest.mark.parametrize("name", LEFT_OVER)
def test_tensors_left_over_inside_the_encoder_are_refused(tmp_path, checkpoints, name):
    folder = copied(checkpoints["bert"], tmp_path / "b")
    tensor, cause = LEFT_OVER[name]
    change_weights(folder, lambda tensors: tensors.update({tensor: torch.zeros(4, 4)}))
    with pytest.raises(CheckpointError, match=f"has 1 tensors inside its network.*{tensor}.*{cause}"):
        TEXT.backbone(options(TEXT, folder), weights=True)


@pytest.mark.parametrize("type_", ["relative_key", "relative_key_query"])
def test_relative_positions_are_refused_by_their_key(tmp_path, checkpoints, type_):
    folder = copied(checkpoints["bert"], tmp_path / "b")
    edit(folder / "config.json", position_embedding_type=type_)
    with pytest.raises(U2AError, match=f"config.json: position_embedding_type is {type_}"):
        TEXT.backbone(options(TEXT, folder), weights=True)


def test_heads_may_be_left_over(tmp_path, checkpoints):
    folder = copied(checkpoints["bert"], tmp_path / "b")
    heads = {"cls.predictions.bias": torch.zeros(4), "classifier.weight": torch.zeros(2, 32)}
    change_weights(folder, lambda tensors: tensors.update(heads))
    assert TEXT.backbone(options(TEXT, folder), weights=True).u2a_ignored == sorted(heads)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@torch.no_grad()
def test_an_adapter_beside_merged_weights_is_not_applied_again(tmp_path, checkpoints):
    base = hf.BertModel.from_pretrained(checkpoints["bert"])
    config = peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
    adapted = peft.get_peft_model(base, config)
    folder = copied(checkpoints["bert"], tmp_path / "merged")
    adapted.save_pretrained(folder)  # adapter_config.json and adapter_model.safetensors
    merged = adapted.merge_and_unload()
    merged.save_pretrained(tmp_path / "weights")
    shutil.copy(tmp_path / "weights/model.safetensors", folder / "model.safetensors")
    assert (folder / "adapter_config.json").is_file()
    module = TEXT.backbone(options(TEXT, folder), weights=True)
    assert not any("lora" in name for name, _ in module.named_parameters())
    name = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(module.get_parameter(name), merged.get_parameter(name))
    (folder / "model.safetensors").unlink()
    with pytest.raises(U2AError, match="it holds an adapter alone: merge it into its base"):
        TEXT.backbone(options(TEXT, folder), weights=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, checkpoints, value):
    folder = copied(checkpoints["vit"], tmp_path / "v")
    name = "encoder.layer.0.intermediate.dense.bias"
    change_weights(folder, lambda tensors: tensors[name].__setitem__(3, value))
    with pytest.raises(CheckpointError, match=r"layers\.0\.mlp\.fc1\.bias holds 1 values that are not finite"):
        IMAGE.backbone(options(IMAGE, folder), weights=True)


# ---------------------------------------------------------------------------------------- a run's identity
@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    recipe = toys.make(tmp_path_factory.mktemp("run"), checkpoints, counts={"train": 8, "test": 4})
    u2a.train(recipe, run=recipe.parent / "run", sets=["training.epochs=1"])
    return recipe.parent


CHANGES = {
    "eps": ("bert/config.json", lambda f: edit(f, layer_norm_eps=0.5)),
    "heads": ("clip/config.json", lambda f: edit(f, num_attention_heads=2)),
    "activation": ("clip/config.json", lambda f: edit(f, hidden_act="relu")),
    "mean": ("clip/preprocessor_config.json", lambda f: edit(f, image_mean=[0, 0, 0])),
    "case": ("bert/tokenizer_config.json", lambda f: edit(f, do_lower_case=False)),
    "side": ("bert/tokenizer_config.json", lambda f: edit(f, truncation_side="left")),
    "tokenizer": (
        "bert/tokenizer.json",
        lambda f: f.write_text(f.read_text().replace('"lowercase": true', '"lowercase": false')),
    ),
    "nested": (
        "clip/processor_config.json",
        lambda f: f.write_text('{"image_processor": {"do_resize": false}}'),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_is_not_loaded_with_other_files_than_it_was_trained_with(trained, name):
    file, change = CHANGES[name]
    path = trained / file
    kept = path.read_text() if path.exists() else None
    change(path)
    try:
        with pytest.raises(CheckpointError, match=f"was trained with another {path.name}"):
            u2a.load(trained / "run")
    finally:
        path.write_text(kept) if kept is not None else path.unlink()
    u2a.load(trained / "run")


def test_what_decides_nothing_may_change(trained):
    edit(trained / "bert/config.json", transformers_version="9.9", id2label={"0": "a"}, _name_or_path="x")
    path = trained / "clip/preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=7))
    u2a.load(trained / "run")


# -------------------------------------------------------------------------------------------- recipe check
def test_recipe_check_tells_what_does_not_fit(tmp_path, checkpoints):
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 4})
    assert ": ok: toy" in u2a_command("recipe", "check", recipe)
    edit(tmp_path / "clip/preprocessor_config.json", resample=9)
    edit(tmp_path / "bert/config.json", vocab_size=3)
    said = u2a_command("recipe", "check", recipe, code=2)
    assert "resample: must be one of Pillow's filters" in said
    assert "vocab_size is 3" in said
    shutil.rmtree(tmp_path / "bert")
    assert "modalities.text: encoder" in (gone := u2a_command("recipe", "check", recipe, code=2))
    assert "is not a folder" in gone


def test_a_folder_is_recognised_without_a_leading_dot(tmp_path, checkpoints):
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 4})
    recipe.write_text(recipe.read_text().replace('"./clip"', '"clip"'))
    assert ": ok: toy" in u2a_command("recipe", "check", recipe)
    recipe.write_text(recipe.read_text().replace('"clip"', '"models/old/clip"'))
    assert f"{tmp_path}/models/old/clip is not a folder" in u2a_command("recipe", "check", recipe, code=2)


def test_grey_pictures_and_colours_are_read_alike(checkpoints):
    grey = Image.new("L", (40, 40), 100)
    reader = IMAGE.preprocessor(options(IMAGE, checkpoints["vit"]))
    both = [
        reader(tiny.image_bytes(i), train=False, seed=0)["pixel_values"] for i in (grey, grey.convert("RGB"))
    ]
    assert torch.equal(*both)
