"""Runs whose files lie elsewhere now, and what a training says of its data before it starts."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
import toys
from click.testing import CliRunner
from four import invoke as u2a_command
from safetensors.torch import load_file

import u2a
from u2a.cli.encoder import encoder as encoder_group
from u2a.common.distributed import World
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))


STREAM = ["data.streaming=true", "data.samples_per_epoch=16", "training.modality_dropout=random"]


def interrupted(recipe: Path, folder: Path, *sets: str) -> None:
    """Two epochs, of which one is done and saved."""
    loaded = load_recipe(recipe, ["training.epochs=2", *sets])
    run = Run(folder)
    trainer = Trainer(loaded, run, ALONE)
    run.create(loaded)
    trainer.stop.asked = 15
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()


def moved(source: Path, target: Path) -> list[str]:
    """Rename a project; the overrides that say where its parts are now."""
    source.rename(target)
    parts = {"data.shards": "shards", "modalities.image.encoder": "clip", "modalities.text.encoder": "bert"}
    return [f"{key}={target / name}" for key, name in parts.items()]


def test_a_moved_run_goes_on_and_is_found_there_afterwards(tmp_path, checkpoints):
    recipe = toys.make(tmp_path / "here", checkpoints, counts={"train": 16, "val": 8, "test": 8})
    interrupted(recipe, recipe.parent / "run")
    sets = moved(tmp_path / "here", tmp_path / "there")
    run = tmp_path / "there/run"
    assert "to go on: no such" not in u2a_command(
        "train", run, "--resume", code=2
    )  # not found without the overrides
    words = [word for one in sets for word in ("--set", one)]
    assert "done; score it with" in u2a_command("train", run, "--resume", *words)
    assert str(tmp_path / "here") not in (run / "recipe.toml").read_text()
    assert u2a.load(run).evaluate().n == 8
    written = (run / "recipe.toml").read_text()
    classes = load_recipe(run / "recipe.toml").task.classes
    for name, other in zip(classes, reversed(classes), strict=True):  # by hand, in another order
        written = written.replace(f'"{name}"', f'"({other})"')
    (run / "recipe.toml").write_text(written.replace('"(', '"').replace(')"', '"'))
    with pytest.raises(U2AError, match=r"was trained on other classes than the recipe's task\.classes"):
        u2a.load(run)
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in steps if one["type"] == "train"] == [1, 2, 3, 4]


def test_a_moved_stream_goes_on_where_dataset_json_knows_its_shards(tmp_path, checkpoints):
    recipe = toys.make(tmp_path / "here", checkpoints, counts={"train": 16, "val": 8, "test": 8})
    interrupted(recipe, recipe.parent / "run", *STREAM)
    sets = moved(tmp_path / "here", tmp_path / "there")
    run, recipe = tmp_path / "there/run", tmp_path / "there" / recipe.name
    other = toys.make(tmp_path / "other", checkpoints, counts={"train": 24, "val": 8})
    again = [*STREAM, "training.epochs=2", *sets]
    with pytest.raises(U2AError, match="the training data has changed"):
        u2a.train(recipe, run=run, resume=True, sets=[*again, f"data.shards={other.parent / 'shards'}"])
    u2a.train(recipe, run=run, resume=True, sets=again)
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in steps if one["type"] == "train"] == [1, 2, 3, 4]


def test_a_stream_of_an_older_version_goes_on(tmp_path, checkpoints):
    recipe = toys.make(tmp_path / "here", checkpoints, counts={"train": 16, "val": 8, "test": 8})
    run = recipe.parent / "run"
    interrupted(recipe, run, *STREAM)
    shards = sorted(map(str, (recipe.parent / "shards").glob("train*.tar")))
    before = hashlib.sha256("\n".join(shards).encode()).hexdigest()
    for path in (run / "checkpoints").glob("*/adapter.json"):
        old = path.read_bytes()
        new = json.dumps({**json.loads(old), "data_fingerprint": before}).encode()
        path.write_bytes(new)
        manifest = path.with_name("manifest.json")
        hashes = [hashlib.sha256(content).hexdigest() for content in (old, new)]
        manifest.write_text(manifest.read_text().replace(*hashes))
    u2a.train(recipe, run=run, resume=True, sets=[*STREAM, "training.epochs=2"])
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert [one["step"] for one in lines if one["type"] == "train"][-1] == 4


def test_a_shard_that_dataset_json_does_not_list_is_refused_while_it_is_read(tmp_path, checkpoints):
    recipe = toys.make(tmp_path / "here", checkpoints, counts={"train": 16, "val": 8})
    other = toys.make(
        tmp_path / "other", checkpoints, counts={"train": 16, "val": 8}, presence=lambda i: (True, i > 3)
    )
    for path in (other.parent / "shards").glob("train*.tar"):
        shutil.copy(path, recipe.parent / "shards" / path.name)
    with pytest.raises(U2AError, match=r"is not the shard that dataset\.json lists; pack or copy it again"):
        u2a.train(recipe, run=tmp_path / "run", sets=[*STREAM, "training.epochs=1"])


def test_what_moved_must_be_what_it_was(tmp_path, checkpoints):
    recipe = toys.make(tmp_path / "here", checkpoints, counts={"train": 16, "val": 8})
    interrupted(recipe, recipe.parent / "run")
    other = toys.make(tmp_path / "other", checkpoints, counts={"train": 24, "val": 8})
    less = toys.make(tmp_path / "less", checkpoints, counts={"train": 16, "val": 7})
    run = recipe.parent / "run"
    for folder, said in (
        (other.parent, "the training data has changed"),
        (less.parent, "the validation data has changed"),
    ):
        before = (run / "recipe.toml").read_text()
        with pytest.raises(U2AError, match=said):
            u2a.train(
                recipe, run=run, resume=True, sets=["training.epochs=2", f"data.shards={folder / 'shards'}"]
            )
        assert (run / "recipe.toml").read_text() == before
    wide = tmp_path / "wide"
    shutil.copytree(recipe.parent / "bert", wide)
    (wide / "tokenizer_config.json").write_text('{"truncation_side": "left"}')
    with pytest.raises(U2AError, match=r"modality .text. was trained with another tokenizer_config\.json"):
        u2a.train(recipe, run=run, resume=True, sets=["training.epochs=2", f"modalities.text.encoder={wide}"])


def test_parts_of_a_bin_checkpoint_are_joined(tmp_path, checkpoints):
    source = Path(shutil.copytree(checkpoints["bert"], tmp_path / "bin"))
    state, where = load_file(source / "model.safetensors"), {}
    (source / "model.safetensors").unlink()
    for n, names in enumerate((sorted(state)[::2], sorted(state)[1::2]), 1):
        file = f"pytorch_model-0000{n}-of-00002.bin"
        torch.save({name: state[name] for name in names}, source / file)
        where |= dict.fromkeys(names, file)
    index = source / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    result = CliRunner().invoke(encoder_group, ["convert", str(source), str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    found = load_file(tmp_path / "new/model.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert not list((tmp_path / "new").glob("pytorch*"))
    (source / "pytorch_model-00002-of-00002.bin").unlink()
    for broken, said in (
        (where, "names pytorch_model-00002-of-00002.bin, which is not"),
        ({"a": "../x.bin"}, "names ../x.bin"),
    ):
        index.write_text(json.dumps({"weight_map": broken}))
        assert said in u2a_command("encoder", "convert", source, tmp_path / "again", code=2)
    assert not (tmp_path / "again").exists()


def test_a_training_says_what_its_data_cannot_teach(tmp_path, checkpoints, capsys):
    either = lambda i: (i % 2 == 0, i % 2 == 1)  # noqa: E731
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 12}, presence=either)
    recipe.write_text(recipe.read_text().replace('"film"]', '"film", "moon", "star"]'))
    u2a.train(recipe, run=tmp_path / "run", sets=["training.epochs=1"])
    said = capsys.readouterr().err
    assert "no training sample has both image and text" in said
    assert "no training sample has text" not in said
    assert "classes without a training sample, which cannot be learned: moon, star" in said


def test_a_modality_that_never_occurs_is_named(tmp_path, checkpoints, capsys):
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 12})
    lost = ["data.missing.train.rate=1.0", "data.missing.train.missing=text"]
    u2a.train(recipe, run=tmp_path / "run", sets=["training.epochs=1", *lost])
    assert "no training sample has text: what will be predicted from it is untrained" in capsys.readouterr().err


def test_a_complete_training_says_none_of_that(tmp_path, checkpoints, capsys):
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 12})
    u2a.train(recipe, run=tmp_path / "run", sets=["training.epochs=1"])
    assert "no training sample" not in (said := capsys.readouterr().err)
    assert "without a training sample" not in said
