"""Reading checkpoints: what is accepted, what is refused, in which words; identity; LoRA targets."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import huggingface_hub
import pytest
import tiny
import torch
import transformers as hf
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn

from u2a.cli.encoder import encoder as encoder_group
from u2a.cli.main import main
from u2a.contract.modality import ModalitySpec
from u2a.encoders.blocks import lora_targets
from u2a.encoders.convert import convert_checkpoint
from u2a.encoders.loading import transformers_class
from u2a.errors import CheckpointError, U2AError
from u2a_audio.spec import AUDIO
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT
from u2a_video.spec import VIDEO

CASES = [("clip", IMAGE), ("vit", IMAGE), ("dinov2", IMAGE), ("bert", TEXT), ("ast", AUDIO)]


def load(spec: ModalitySpec, folder: Path | str, *, weights: bool = True, **options: object) -> nn.Module:
    chosen = spec.options.model_validate({"kind": spec.name, "encoder": str(folder), **options})
    return spec.backbone(chosen, weights=weights)


def edit_weights(source: Path, target: Path, change) -> Path:
    shutil.copytree(source, target)
    tensors = load_file(target / "model.safetensors")
    save_file(change(tensors), target / "model.safetensors", metadata={"format": "pt"})
    return target


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_lora_targets_are_the_four_attention_projections_of_every_block(checkpoints, name, spec):
    module = load(spec, checkpoints[name])
    blocks = spec.lora_targets(module)
    assert [len(block) for block in blocks] == [4, 4]
    names = [target for block in blocks for target in block]
    assert len(set(names)) == 8
    # Every projection is 32 x 32 and inside attention; BERT's feed-forward output.dense is 64 -> 32.
    assert {tuple(module.get_submodule(n).weight.shape) for n in names} == {(32, 32)}
    assert all(isinstance(module.get_submodule(n), nn.Linear) and "att" in n for n in names)
    last = [[n.rsplit(".", 1)[1][0] for n in block[:3]] for block in blocks]
    assert last == [["q", "k", "v"]] * 2


def test_lora_targets_refuse_fused_attention():
    class Fused(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = hf.BertConfig(num_hidden_layers=2)
            self.layers = nn.ModuleList(nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2)}) for _ in "ab")

    with pytest.raises(U2AError, match=r"separate nn\.Linear"):
        lora_targets(Fused())
    with pytest.raises(U2AError, match="expected one list of 2 attention blocks, found 0"):
        lora_targets(_without_blocks())


def _without_blocks() -> nn.Module:
    module = nn.Module()
    module.config = hf.BertConfig(num_hidden_layers=2)
    return module


@pytest.mark.parametrize(
    ("spec", "encoder", "count"),
    [
        (IMAGE, "openai/clip-vit-base-patch16", 85_799_424),
        (VIDEO, "openai/clip-vit-base-patch16", 85_799_424),
        (TEXT, "bert-base-uncased", 109_482_240),
        (TEXT, "google-bert/bert-base-uncased", 109_482_240),
        (AUDIO, "MIT/ast-finetuned-audioset-10-10-0.4593", 86_187_264),
    ],
)
def test_packaged_configurations_build_offline_on_meta(spec, encoder, count):
    with torch.device("meta"):
        module = load(spec, encoder, weights=False)
    assert sum(p.numel() for p in module.parameters()) == count
    assert {p.device.type for p in module.parameters()} == {"meta"}
    assert spec.width(spec.options(kind=spec.name, encoder=encoder)) == 768
    assert len(spec.lora_targets(module)) == 12
    assert module.u2a_base is None


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_half_precision_files_load_as_float32(tmp_path, name, spec):
    folder = getattr(tiny, f"save_{name}")(tmp_path / name, dtype=torch.float16)
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert {p.dtype for p in load(spec, folder).parameters()} == {torch.float32}


def test_identity_is_the_hash_of_the_weights_file(checkpoints):
    folder = checkpoints["clip"]
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    found = load(IMAGE, folder).u2a_base
    assert {k: v for k, v in found.items() if k != "files"} == {
        "id": str(folder),
        "revision": None,
        "sha256": digest,
    }
    assert list(found["files"]) == ["config.json", "preprocessor_config.json"]


def test_sharded_checkpoint_loads_and_hashes_all_shards(tmp_path, checkpoints):
    model = hf.BertModel.from_pretrained(checkpoints["bert"])
    shutil.copytree(checkpoints["bert"], tmp_path / "s", ignore=shutil.ignore_patterns("model.safetensors"))
    model.save_pretrained(tmp_path / "s", max_shard_size="40KB")
    shards = sorted((tmp_path / "s").glob("model-*.safetensors"))
    assert len(shards) > 1
    module = load(TEXT, tmp_path / "s")
    whole = load(TEXT, checkpoints["bert"])
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), whole.parameters(), strict=True))
    digest = hashlib.sha256(b"".join(shard.read_bytes() for shard in shards)).hexdigest()
    assert module.u2a_base["sha256"] == digest
    shards[0].unlink()
    with pytest.raises(U2AError, match="names weight files that are not in the folder"):
        load(TEXT, tmp_path / "s")


def test_missing_weight_is_an_error_that_names_it(tmp_path, checkpoints):
    def drop(tensors):
        return {k: v for k, v in tensors.items() if not k.endswith("layer.1.attention.self.query.weight")}

    folder = edit_weights(checkpoints["bert"], tmp_path / "b", drop)
    with pytest.raises(CheckpointError, match=r"lacks 1 weights.*layer\.1\.attention\.self\.query\.weight"):
        load(TEXT, folder)


def test_missing_pooler_is_fine_since_nothing_uses_it(tmp_path, checkpoints):
    folder = edit_weights(
        checkpoints["bert"], tmp_path / "b", lambda t: {k: v for k, v in t.items() if "pooler" not in k}
    )
    assert any("pooler" in name for name, _ in load(TEXT, folder).named_parameters())


def test_heads_of_other_tasks_are_listed_and_ignored(tmp_path, checkpoints):
    config = hf.BertModel.from_pretrained(checkpoints["bert"]).config
    tiny.save(hf.BertForSequenceClassification(config), tmp_path / "b")
    assert load(TEXT, tmp_path / "b").u2a_ignored == ["classifier.bias", "classifier.weight"]


def test_whole_clip_gives_its_vision_tower(tmp_path):
    folder = tiny.save_whole_clip(tmp_path / "c")
    on_disk = load_file(folder / "model.safetensors")
    assert "vision_model.encoder.layers.0.self_attn.q_proj.weight" in on_disk
    module = load(IMAGE, folder)
    wanted = on_disk["vision_model.encoder.layers.1.self_attn.out_proj.weight"]
    assert torch.equal(module.get_submodule(lora_targets(module)[1][3]).weight, wanted)
    assert "logit_scale" in module.u2a_ignored
    assert any(name.startswith("text_model.") for name in module.u2a_ignored)


def test_old_clip_tower_layout_loads(tmp_path, checkpoints):
    def old(tensors):
        named = {f"vision_model.{k.removeprefix('vision_model.')}": v for k, v in tensors.items()}
        return named | {"vision_model.embeddings.position_ids": torch.arange(5)[None]}

    folder = edit_weights(checkpoints["clip"], tmp_path / "c", old)
    new, reference = load(IMAGE, folder), load(IMAGE, checkpoints["clip"])
    assert all(torch.equal(a, b) for a, b in zip(new.parameters(), reference.parameters(), strict=True))


def test_old_ast_layout_loads(tmp_path):
    tiny.save(hf.ASTForAudioClassification(tiny.ast_config()), tmp_path / "a")
    on_disk = load_file(tmp_path / "a" / "model.safetensors")
    old = "audio_spectrogram_transformer.encoder.layer.1.attention.attention.key.weight"
    assert old in on_disk
    module = load(AUDIO, tmp_path / "a")
    assert torch.equal(module.get_submodule(lora_targets(module)[1][1]).weight, on_disk[old])
    assert all(name.startswith("classifier.") for name in module.u2a_ignored)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors.*u2a encoder convert"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x08" * 64), "cannot be loaded"),
        (lambda f: (f / "config.json").unlink(), "no config.json, which says of what"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
        (
            lambda f: (f / "config.json").write_text('{"model_type": "gpt2"}'),
            "'gpt2' model; supported here",
        ),
    ],
)
def test_damaged_folders_say_what_is_wrong_in_one_line(tmp_path, checkpoints, damage, text):
    folder = Path(shutil.copytree(checkpoints["bert"], tmp_path / "b"))
    damage(folder)
    with pytest.raises(U2AError, match=text) as caught:
        load(TEXT, folder)
    assert "\n" not in str(caught.value)


def test_wrong_shape_is_a_checkpoint_error(tmp_path, checkpoints):
    def widen(tensors):
        return {k: torch.cat([v, v]) if k.endswith("LayerNorm.bias") else v for k, v in tensors.items()}

    folder = edit_weights(checkpoints["bert"], tmp_path / "b", widen)
    said = r"LayerNorm.bias is \[64\] in the weights and \[32\] by config.json: the two belong to different"
    with pytest.raises(CheckpointError, match=said):
        load(TEXT, folder)


def test_decoder_configuration_is_refused(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["bert"], tmp_path / "b"))
    config = json.loads((folder / "config.json").read_text()) | {"is_decoder": True}
    tiny.write_json(folder, "config.json", config)
    with pytest.raises(U2AError, match="configured as a decoder"):
        load(TEXT, folder)


def test_remote_code_in_a_checkpoint_never_runs(tmp_path, checkpoints):
    folder = Path(shutil.copytree(checkpoints["bert"], tmp_path / "b"))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoTokenizer": "evil.T"}
    tiny.write_json(folder, "config.json", config)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["auto_map"] = {"AutoTokenizer": ["evil.T", None]}
    tiny.write_json(folder, "tokenizer_config.json", tokenizer)
    load(TEXT, folder)
    options = TEXT.options(kind="text", encoder=str(folder))
    TEXT.preprocessor(options)(b"the sea", train=False, seed=0)
    assert not (tmp_path / "ran").exists()


def test_unknown_hub_id_and_folder_say_how_to_go_on(tmp_path):
    with pytest.raises(U2AError, match="hf download nobody/nothing --local-dir DIR"):
        load(IMAGE, "nobody/nothing")
    with pytest.raises(U2AError, match="is not a folder"):
        load(IMAGE, tmp_path / "absent")


def put_in_hub_cache(folder: Path, cache: Path, repository: str, names: list[str]) -> str:
    """The files of ``folder`` as the hub's cache keeps them after a download; returns the commit."""
    commit = "c0ffee" * 6 + "c0de"
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "snapshots" / commit).mkdir(parents=True)
    for name in names:
        shutil.copy(folder / name, root / "snapshots" / commit / name)
    return commit


def test_a_downloaded_hub_id_loads_offline_and_its_identity_is_the_commit(tmp_path, checkpoints, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    names = [path.name for path in checkpoints["bert"].iterdir()]
    commit = put_in_hub_cache(checkpoints["bert"], tmp_path, "some/bert", names)
    options = TEXT.options(kind="text", encoder="some/bert")
    module = TEXT.backbone(options, weights=True)
    assert module.u2a_base["id"] == "some/bert"
    assert module.u2a_base["revision"] == commit
    assert TEXT.preprocessor(options)(b"the sea", train=False, seed=0)["input_ids"].shape == (4,)
    with pytest.raises(U2AError, match="hf download some/bert"):
        load(TEXT, "some/bert", revision="v2")


def test_what_cannot_be_converted_is_one_line(tmp_path, checkpoints):
    for words in (("/nowhere/at/all",), (str(checkpoints["clip"]), "--revision", "main")):
        result = CliRunner().invoke(main, ["encoder", "convert", words[0], str(tmp_path / "out"), *words[1:]])
        assert result.exit_code == 2, result.output
        assert result.output.startswith("error: ")
        assert result.output.count("\n") == 1


def test_a_hub_id_without_safetensors_says_how_to_convert_it(tmp_path, checkpoints, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    put_in_hub_cache(checkpoints["clip"], tmp_path, "some/clip", ["config.json"])
    with pytest.raises(U2AError, match="u2a encoder convert some/clip DIR"):
        load(IMAGE, "some/clip")


def test_a_revision_of_a_folder_is_refused(checkpoints):
    with pytest.raises(ValueError, match="revision is for hub ids"):
        load(IMAGE, checkpoints["clip"], revision="main")


def test_convert_writes_the_same_tensors_as_safetensors(tmp_path, checkpoints):
    source = Path(shutil.copytree(checkpoints["clip"], tmp_path / "bin"))
    tensors = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    torch.save(tensors, source / "pytorch_model.bin")
    with pytest.raises(U2AError, match="u2a encoder convert"):
        load(IMAGE, source)
    result = CliRunner().invoke(encoder_group, ["convert", str(source), str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    new, reference = load(IMAGE, tmp_path / "new"), load(IMAGE, checkpoints["clip"])
    assert all(torch.equal(a, b) for a, b in zip(new.parameters(), reference.parameters(), strict=True))
    assert (tmp_path / "new" / "preprocessor_config.json").is_file()
    assert len({path.stat().st_mode for path in (tmp_path / "new").iterdir()}) == 1  # as the umask has it
    with pytest.raises(U2AError, match="exists already"):
        convert_checkpoint(str(source), tmp_path / "new")


def test_convert_runs_no_code_from_the_file(tmp_path, checkpoints):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    source = Path(shutil.copytree(checkpoints["clip"], tmp_path / "bin"))
    torch.save({"x": Evil()}, source / "pytorch_model.bin")
    with pytest.raises(U2AError, match="cannot be read safely"):
        convert_checkpoint(str(source), tmp_path / "new")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "new").exists()


def test_plugins_import_without_torch_or_transformers():
    code = (
        "import sys, u2a_image, u2a_text, u2a_audio, u2a_video, u2a.cli.encoder; "
        "print([m for m in ('torch', 'transformers', 'PIL', 'av', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_what_transformers_warns_of_on_import_reaches_nobody(monkeypatch):
    class Old(ModuleType):
        def __getattr__(self, name: str) -> object:
            warnings.warn("a module behind it calls what is deprecated", FutureWarning, stacklevel=2)
            return hf.BertModel

    monkeypatch.setitem(sys.modules, "transformers", Old("transformers"))
    assert transformers_class("BertModel") is hf.BertModel  # warnings are errors here


def test_building_on_meta_first_leaves_no_meta_constants_behind(checkpoints):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "import torch\n"
        "from u2a_audio.spec import AUDIO\n"
        "options = AUDIO.options(kind='audio', encoder=sys.argv[1])\n"
        "with torch.device('meta'):\n"
        "    AUDIO.backbone(options, weights=False)\n"
        "import tiny\n"
        "member = tiny.sound_bytes(tiny.tone())\n"
        "print(AUDIO.preprocessor(options)(member, train=False, seed=0)['input_values'].device)\n"
    )
    run = [sys.executable, "-c", code, str(checkpoints["ast"])]
    out = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert out.stdout.strip() == "cpu"
