"""Mistakes that people make in their first hour, and the line that each gets."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pytest
import tiny
import toys
from click.testing import CliRunner

import u2a
from u2a.cli.main import main


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts={"train": 8, "test": 8})


@pytest.fixture(scope="module")
def trained(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here") / "runs/toy-001"
    run("train", recipe, "--run", folder, "--set", "training.epochs=1")
    return folder


def test_one_name_in_python_is_a_name_not_letters(trained: Path) -> None:
    model = u2a.load(trained)
    assert model.evaluate(drop="image").dropped == ("image",)
    assert model.evaluate("image").scores == model.evaluate(["image"]).scores
    assert model.evaluate(keep="text=0.5").n == 8
    with pytest.raises(u2a.U2AError, match=r"no such modality; this run has image, text"):
        model.evaluate(drop="audio")
    assert u2a.evaluate(trained, drop="text").dropped == ("text",)


def test_a_section_with_a_name_of_ones_own_is_told_of_kind(recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text().replace("[modalities.image]", "[modalities.picture]")
    (recipe.parent / "named.toml").write_text(text)
    said = run("recipe", "check", recipe.parent / "named.toml", code=2)
    assert 'say which: kind = "' in said
    assert "in [modalities.picture]" in said


@pytest.mark.parametrize(
    ("key", "meant"),
    [("learning_rate", "lr"), ("num_epochs", "epochs"), ("max_epochs", "epochs"), ("batchsize", "batch_size")],
)
def test_keys_as_other_tools_call_them(recipe: Path, key: str, meant: str) -> None:
    said = run("recipe", "check", recipe, "--set", f"training.{key}=3", code=2)
    assert f"training.{key}: unknown key; did you mean '{meant}'?" in said


def test_a_split_that_is_not_there(trained: Path) -> None:
    said = run("eval", trained, "--split", "dev", code=2)
    assert "has no split 'dev'" in said
    assert "--split" in said


def test_a_file_goes_to_the_modality_that_reads_it(trained: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.PNG"
    picture.write_bytes(tiny.image_bytes(tiny.picture()))
    named = run("predict", trained, "--image", picture)
    assert run("predict", trained, picture) == named
    assert "used image, text" in run("predict", trained, picture, "--text", "a red boat")
    words = tmp_path / "words.txt"
    words.write_text("a red boat")
    assert run("predict", trained, words) == run("predict", trained, "--text", "a red boat")
    assert "text is given twice" in run("predict", trained, words, "--text", "a boat", code=2)
    (tmp_path / "a.xyz").write_bytes(b"x")
    said = run("predict", trained, tmp_path / "a.xyz", code=2)
    assert "no modality reads such files" in said
    assert "--image" in said


def test_a_table_to_predict_needs_no_keys(trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text("text,price\nthe old sea,3\nthe red boat,4\n")
    lines = [
        json.loads(line) for line in run("predict", trained, "--manifest", table).splitlines() if line[0] == "{"
    ]
    alone = [
        json.loads(run("predict", trained, "--text", text, "--json"))
        for text in ("the old sea", "the red boat")
    ]
    assert [line["key"] for line in lines] == ["2", "3"]
    for line, right in zip(lines, alone, strict=True):
        assert line["probabilities"] == pytest.approx(right["probabilities"], abs=1e-5)
    said = run("predict", trained, "--manifest", table, "--out", "x", code=2)
    assert "--out beside --manifest" in said


def test_a_deleted_shard_has_a_remedy(trained: Path, recipe: Path, tmp_path: Path) -> None:
    shards = next(recipe.parent.rglob("dataset.json")).parent
    copy = shutil.copytree(shards, tmp_path / "copy")
    next(copy.glob("test-*.tar")).unlink()
    said = run("eval", trained, "--set", f"data.shards={copy}", code=2)
    assert "missing shard" in said
    assert "copy it back, or pack anew" in said


def test_the_newest_run_is_never_one_in_training(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs"
    shutil.copytree(trained, root / "older")
    shutil.copytree(trained, root / "newer")
    (root / "newer/checkpoints/LAST").write_text((root / "newer/checkpoints/LAST").read_text())
    monkeypatch.chdir(tmp_path)
    assert json.loads(run("eval", "--json"))["run"] == "runs/newer"
    with (root / "newer/.training").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert json.loads(run("eval", "--json"))["run"] == "runs/older"
        shutil.rmtree(root / "older")
        assert "runs/newer is still in training" in run("eval", code=2)
        assert "run runs/newer" in run("eval", "runs/newer")
    (tmp_path / "a.png").write_bytes(tiny.image_bytes(tiny.picture()))
    assert "run runs/newer" in run("predict", "a.png")
