"""The commands on a trained toy run: what is printed, what is refused, and that bad input is one clear line."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import toys
from click.testing import CliRunner

import u2a
from u2a.cli.evaluate import _mean
from u2a.cli.main import main
from u2a.errors import BadSample, U2AError
from u2a.recipe.file import load_recipe
from u2a.runs.folder import latest_run, new_run


def run(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    gaps = lambda i: (i % 8 != 3, i % 8 != 6)  # noqa: E731
    return toys.make(folder, checkpoints, counts={"train": 32, "val": 8, "test": 24}, presence=gaps)


@pytest.fixture(scope="module")
def trained(recipe: Path) -> Path:
    folder = recipe.parent / "runs/toy-001"
    run("train", recipe, "--run", folder, "--set", "training.epochs=12")
    return folder


def test_help_lists_every_command_and_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from u2a.cli.main import main;"
        "r = CliRunner().invoke(main, ['--help']); print(r.output);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for command in ("train", "eval", "predict", "params", "data", "recipe", "plugins", "report", "quickstart"):
        assert f"  {command} " in done.stdout


def test_plugins_list() -> None:
    rows = {row["modality"]: row for row in json.loads(run("plugins", "list", "--json"))}
    assert {"image", "text", "audio", "video"} <= set(rows)
    assert rows["audio"]["distribution"] == "u2a"
    assert "wav" in rows["audio"]["extensions"]
    assert rows["audio"]["status"] == "ok"


def test_eval_prints_the_complete_score_on_the_same_samples(trained: Path) -> None:
    found = json.loads(run("eval", trained, "--drop", "image", "--json"))
    assert (found["n"], found["n_empty"]) == (21, 3)
    assert set(found["scores"]) == set(found["complete"]) == {"accuracy", "f1_macro", "map"}
    assert found["run"] == str(trained)
    plain = json.loads(run("eval", trained, "--json"))
    assert (plain["n"], plain["n_empty"]) == (24, 0)
    assert plain["scores"] == plain["complete"]


def test_eval_takes_the_newest_run_and_says_which(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.parents[1])
    assert f"run {trained.relative_to(trained.parents[1])}" in run("eval")


def test_one_mask_token_for_all_targets_is_stored_once(trained: Path) -> None:
    encoded = u2a.load(trained).encode("test")
    N, M, D = encoded.cls_NMD.shape
    assert encoded.mask_NMMD.shape == (N, M, M, D)
    assert encoded.mask_NMMD.untyped_storage().nbytes() == N * M * D * 4


@pytest.mark.parametrize(
    ("drop", "message"),
    [("smell", "--drop smell: no such modality; this run has image, text"), ("image,text", "must remain")],
)
def test_eval_refuses_unknown_modalities_and_dropping_all(trained: Path, drop: str, message: str) -> None:
    output = run("eval", trained, "--drop", drop, code=2)
    assert message in output
    assert output.count("\n") == 1


def test_a_run_is_not_overwritten_and_resume_of_a_finished_one_is_quick(recipe: Path, trained: Path) -> None:
    assert "holds a run already" in run("train", recipe, "--run", trained, code=2)
    output = run("train", recipe, "--run", trained, "--resume", "--set", "training.epochs=12")
    assert "done; score it with" in output
    changes = ("--set", "training.lr=1e-5", "--set", "seed=3")
    changed = run("train", recipe, "--run", trained, "--resume", *changes, code=2)
    assert "another recipe (seed, training.epochs, training.lr differ)" in changed


def test_trainings_that_start_together_take_different_folders(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe)
    (tmp_path / "toy-999").mkdir()
    runs = [new_run(loaded, tmp_path) for _ in range(3)]
    assert [r.folder.name for r in runs] == ["toy-1000", "toy-1001", "toy-1002"]
    assert latest_run(loaded, tmp_path) is None
    for begun in (tmp_path / "toy-999", runs[0].folder):
        (begun / "recipe.toml").touch()
    assert str(latest_run(loaded, tmp_path)) == str(runs[0])


def test_a_training_that_cannot_begin_leaves_no_folder(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "more than the 32" in run("train", recipe, "--set", "training.batch_size=64", code=2)
    assert not list((tmp_path / "runs").iterdir())


def test_a_run_that_died_before_its_first_checkpoint_begins_again(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd [/b] :smile: name"  # rich would read markup and an emoji in it
    assert f"run {folder}" in run("train", recipe, "--run", folder, "--set", "training.epochs=1")
    shutil.rmtree(folder / "checkpoints")
    assert f"run {folder}" in run("train", folder, "--resume")
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 4]
    assert f"run {folder}" in run("eval", folder)


def test_other_classes_or_modalities_than_the_trained_ones_are_refused(recipe: Path, trained: Path) -> None:
    turned = run("eval", trained, "--set", 'task.classes=["boat", "sea", "town", "film"]', code=2)
    assert "was trained on other classes" in turned
    encoder = f"modalities.sketch.encoder={recipe.parent / 'clip'}"
    more = run("eval", trained, "--set", "modalities.sketch.kind=image", "--set", encoder, code=2)
    assert "was trained on image, text, but the recipe has image, text, sketch" in more


def test_what_the_file_system_refuses_is_one_line(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run("train", recipe, "--run", tmp_path / "file", code=2).endswith("/file: File exists\n")
    output = run("recipe", "copy", "movies", "--out", tmp_path / "file", code=2)
    assert output == f"error: {tmp_path}/file: File exists\n"
    assert "cannot be read: Not a directory" in run("recipe", "check", tmp_path / "file/x.toml", code=2)


def test_predict_on_the_command_line_equals_the_python_api(trained: Path) -> None:
    picture = trained.parents[1] / "test-0.png"
    found = json.loads(run("predict", trained, "--image", picture, "--text=the old sea", "--json", "--top", 4))
    model = u2a.load(trained)
    prediction = model.predict({"image": picture, "text": "the old sea"})
    assert found["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-5)
    assert (found["used"], found["filled"]) == (["image", "text"], [])
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
    text = run("predict", trained, "--text", "the old boat")
    assert "used text; filled in image" in text


def test_a_text_may_begin_with_a_dash(trained: Path) -> None:
    """Both hold an h, which click would take for -h."""
    for text in ("-10 degrees at the shore", "-h"):
        assert "used text" in run("predict", trained, "--text", text)


def test_a_file_of_text_is_read_on_the_command_line(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "plot.txt").write_text("the old sea")
    told, read = (
        json.loads(run("predict", trained, *value, "--json"))
        for value in (("--text", "the old sea"), ("--text-path", tmp_path / "plot.txt"))
    )
    assert told == read
    path = tmp_path / "plot.txt"
    for said in (run("predict", trained, "--text", path, code=2), python_error(trained, text=str(path))):
        assert "is a file; to read it: text_path (--text-path on the command line)" in said
    model = u2a.load(trained)
    right = model.predict({"text": "the old sea"}).probabilities
    for values in ({"text": path}, {"text_path": str(path)}, {"text_path": path, "image": float("nan")}):
        assert model.predict(values).probabilities == right
    assert "is given twice" in python_error(trained, text="a", text_path=path)


def python_error(trained: Path, **values: object) -> str:
    with pytest.raises(U2AError) as caught:
        u2a.load(trained).predict(values)
    return str(caught.value)


def test_predicting_a_test_set_gives_the_evaluated_accuracy(trained: Path) -> None:
    manifest = trained.parents[1] / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    lines = {
        (r["key"]): json.loads(x)
        for r, x in zip(rows, run("predict", trained, "--manifest", manifest).splitlines(), strict=True)
    }
    test = [row for row in rows if row["split"] == "test"]
    accuracy = sum(lines[row["key"]]["labels"] == [row["label"]] for row in test) / len(test)
    assert accuracy == pytest.approx(json.loads(run("eval", trained, "--json"))["scores"]["accuracy"])


def test_a_manifest_to_predict_needs_keys_only(trained: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "texts.csv"
    manifest.write_bytes(b"\xef\xbb\xbfkey,text\r\na,the sea\r\nb,a boat\r\n")
    lines = run("predict", trained, "--manifest", manifest, "--top", "1").splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a", "b"]
    manifest.write_text("key;text;year\na;N/A;3\n")
    said = CliRunner().invoke(main, ["predict", str(trained), "--manifest", str(manifest)]).stderr
    assert "note: columns that the recipe does not know are left out: 'year' (1 rows)" in said
    assert "note: 1 text cells say 'N/A' (1) and are kept as they are" in said
    assert "--top" in run("predict", trained, "--text", "sea", "--top", "-1", code=2)


def test_a_row_that_cannot_be_read_moves_no_others_prediction(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(tiny.image_bytes(tiny.picture())[:90])
    rows = [{"key": "a", "text": "the sea"}, {"key": "b", "image": "cut.png"}, {"key": "c", "text": "a boat"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["predict", str(trained), "--manifest", str(tmp_path / "m.jsonl"), "--coverage", "0.8"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    first, broken, last = map(json.loads, done.stdout.splitlines())
    assert (first["key"], broken["key"], last["key"]) == ("a", "b", "c")
    assert "cannot be decoded" in broken["error"]
    for line, row in ((first, rows[0]), (last, rows[2])):
        alone = json.loads(run("predict", trained, "--text", row["text"], "--json", "--coverage", "0.8"))
        assert line["set"] == alone["set"]
        assert line["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)


def test_options_that_choose_weights_and_data_are_heeded(trained: Path, tmp_path: Path) -> None:
    """Of a run that has a last checkpoint alone: who asks for the best one is refused."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "checkpoints/BEST").unlink()
    last = ("--checkpoint", "last")
    for words in (("predict", folder, "--text", "sea"), ("eval", folder), ("report", folder)):
        assert "no BEST checkpoint" in run(*words, code=2)
    assert "used text" in run("predict", folder, "--text", "sea", *last)
    assert json.loads(run("eval", folder, *last, "--split", "val", "--json"))["n"] == 8
    plain = ("--no-baselines", "--split", "val", "--out", tmp_path / "report")
    run("report", folder, *last, *plain)
    found = json.loads((tmp_path / "report/report.json").read_text())
    assert (found["data"]["split"], found["data"]["n"], found["baselines"]) == ("val", 8, None)


def test_a_mean_over_patterns_counts_their_samples() -> None:
    rows: Any = [
        SimpleNamespace(calibrated={"rises": rises, "n": n}) for rises, n in ((0.1, 30), (0.5, 10), (None, 5))
    ]
    assert _mean(rows, "rises") == pytest.approx(0.2)
    assert _mean(rows[2:], "rises") is None


def test_a_batch_of_samples_with_different_presence(trained: Path) -> None:
    model, image = u2a.load(trained), tiny.picture(seed=3)
    values = [{"image": image, "text": "a sea"}, {"text": "a small red boat", "image": None}, {"image": image}]
    together = model.predict(values)
    assert [p.filled for p in together] == [(), ("image",), ("text",)]
    for one, prediction in zip(values, together, strict=True):
        assert model.predict(one).probabilities == pytest.approx(prediction.probabilities, abs=1e-5)


def test_python_train_and_evaluate(recipe: Path, tmp_path: Path) -> None:
    model = u2a.train(recipe, run=tmp_path / "run")
    scenario = u2a.evaluate(tmp_path / "run", drop=["text"])
    assert scenario == model.evaluate(drop=["text"])
    assert scenario.n + scenario.n_empty == 24
    with pytest.raises(U2AError, match="sets are for a recipe file"):
        u2a.train(load_recipe(recipe), run=tmp_path / "other", sets=["training.epochs=1"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give at least one of image, text"),
        ({"smell": b"x"}, "smell: no such modality"),
        ({"image": b"not a picture"}, "image: "),
        ({"image": "nowhere.png"}, "nowhere.png: no such file"),
        ({"text": "  "}, "text"),
        ({"image": 3}, "image: "),
    ],
)
def test_values_that_cannot_be_read_are_named(trained: Path, values: dict, message: str) -> None:
    with pytest.raises(U2AError, match=message) as caught:
        u2a.load(trained).predict(values)
    assert "\n" not in str(caught.value)


def test_a_bad_sample_in_a_manifest_costs_only_itself(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nonsense")
    rows = [{"key": "a", "text": "the sea"}, {"key": "b", "image": "x.png"}, {"key": "c", "text": "a boat"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = CliRunner().invoke(main, ["predict", str(trained), "--manifest", str(tmp_path / "m.jsonl")])
    assert result.exit_code == 2
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["key"] for line in lines] == ["a", "b", "c"]
    assert "image" in lines[1]["error"]
    assert lines[2]["used"] == ["text"]


def test_debug_shows_the_traceback(trained: Path) -> None:
    result = CliRunner().invoke(main, ["eval", str(trained), "--drop", "smell", "--debug"])
    assert isinstance(result.exception, U2AError)


BAD = {
    "undecodable image": ("image", "png", b"nonsense"),
    "cut image": ("image", "png", tiny.image_bytes(tiny.picture())[:200]),
    "zero-length audio": ("audio", "wav", tiny.sound_bytes(tiny.tone()[:0])),
    "audio without sound": ("audio", "mp4", tiny.clip_bytes(tiny.numbered_frames(3))),
    "video without frames": ("video", "mp4", tiny.clip_bytes(None, tiny.tone())),
    "empty text": ("text", "txt", b"   "),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_members_are_one_clear_line(name: str, checkpoints: dict[str, Path]) -> None:
    from u2a.plugins.loading import registry

    kind, _, member = BAD[name]
    encoder = {"image": "clip", "video": "clip", "audio": "ast", "text": "bert"}[kind]
    spec = registry().spec(kind)
    options = spec.options.model_validate({"kind": kind, "encoder": str(checkpoints[encoder])})
    with pytest.raises(BadSample) as caught:
        spec.preprocessor(options)(member, train=False, seed=0)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_threads_wait_busily_only_for_a_while_unless_the_user_says_how(
    given: dict[str, str], wanted: str | None
) -> None:
    """Before torch is imported: GNU's OpenMP reads it once, as it is loaded."""
    code = """
        import os, sys
        from u2a.__main__ import run
        sys.argv = ["u2a", "--version"]
        try:
            run()
        except SystemExit:
            print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
            os._exit(0)
    """
    clean = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    words = [sys.executable, "-c", textwrap.dedent(code)]
    said = subprocess.run(words, capture_output=True, text=True, env=clean | given, check=True).stdout
    assert said.splitlines()[-1] == f"{wanted} False"
