"""A recipe that names only data, classes and encoders: its head start is a checkpoint like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import toys
from click.testing import CliRunner

import u2a
from u2a.cli.main import main
from u2a.common.distributed import World
from u2a.data.feeding.batches import unwrap
from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
COUNTS = {"train": 48, "val": 32, "test": 24}


@pytest.fixture(scope="module")
def plain(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe without a setting of training, and of the model only what spares two of three probes."""
    folder = tmp_path_factory.mktemp("plain")
    recipe = toys.make(folder / "toy", checkpoints, counts=COUNTS)
    text = recipe.read_text()
    text = text[: text.index("[model]")].replace('select_on = "complete"\n', "")
    recipe.write_text(text + '[model]\nread_out = "both"\n')
    return recipe


def trainer(recipe: Path, run: Path, *sets: str) -> Trainer:
    loaded = load_recipe(recipe, ["training.device=cpu", *sets])
    made = Trainer(loaded, Run(run), ALONE)
    if not made.run.exists:
        made.run.create(loaded)
    return made


@pytest.fixture(scope="module")
def started(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ends with its head start."""
    run = tmp_path_factory.mktemp("runs") / "started"
    made = trainer(plain, run, "training.epochs=0")
    made.fit()
    assert made.finished
    return run


def test_without_a_step_the_head_start_is_the_model(started: Path) -> None:
    assert (started / "checkpoints/BEST").read_text().strip() == "step-00000000"
    model = u2a.load(started)
    complete = model.evaluate()
    assert complete.scores["accuracy"] > 0.9  # the class shows in the pictures' brightness and in a word
    for name in ("image", "text"):
        assert model.evaluate([name]).scores["accuracy"] > 0.5
    (line,) = [json.loads(line) for line in (started / "metrics.jsonl").read_text().splitlines()]
    assert (line["type"], line["step"], line["epoch"]) == ("validation", 0, 0)


def test_the_best_checkpoint_is_never_worse_than_the_head_start(plain: Path, tmp_path: Path) -> None:
    made = trainer(plain, tmp_path / "run", "training.epochs=2", "training.lr=0.5")  # far too fast
    made.fit()
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    selected = {line["step"]: line["selected"] for line in lines if line["type"] == "validation"}
    best = json.loads((checkpoint.current(tmp_path / "run/checkpoints", "BEST") / "adapter.json").read_text())
    assert best["selected"] == min(selected.values()) <= selected[0]  # losses


def test_training_goes_on_from_the_head_start_exactly_after_a_stop(plain: Path, tmp_path: Path) -> None:
    sets = ["training.epochs=2", "training.patience=0"]
    whole = trainer(plain, tmp_path / "whole", *sets)
    whole.fit()
    first = trainer(plain, tmp_path / "parts", *sets)
    first._begin()
    batches = iter(first.data.loader(0, first.total))
    first.objective.train()
    for _ in range(2):
        first.train_step([unwrap(next(batches))])
    first._save()
    second = trainer(plain, tmp_path / "parts", *sets)
    second.resume()
    second.fit()
    for name, tensor in checkpoint.adapter_state(second.model).items():
        assert torch.equal(tensor, checkpoint.adapter_state(whole.model)[name]), name


def test_a_head_start_that_was_stopped_before_its_validation_owes_it(plain: Path, tmp_path: Path) -> None:
    made = trainer(plain, tmp_path / "run", "training.epochs=0")
    made._save()
    again = trainer(plain, tmp_path / "run", "training.epochs=0")
    again.resume()
    assert again.owes_validation
    assert not again.finished


def test_more_epochs_after_the_head_start_do_not_make_it_again(
    started: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(started, tmp_path / "run")
    made = trainer(plain, run, "training.epochs=1", "training.lr=0.5", "training.patience=1")
    made.resume()
    made.fit()
    assert made.keeper.stale == 1
    assert "no better validation" not in "".join(capsys.readouterr())  # it was the last one anyway
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["type"] == "validation"] == [0, made.total]


def test_patience_ends_a_training_and_it_stays_ended(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = trainer(plain, tmp_path / "run", "training.epochs=9", "training.lr=0.5", "training.patience=1")
    made.fit()
    assert made.done < made.total
    told = " ".join("".join(capsys.readouterr()).split())
    assert told.count("no better validation in 1 epochs: the training ends here") == 1
    assert told.count("head start: ") == 1
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    values = [line["selected"] for line in lines if line["type"] == "validation"]
    worse = [n for n, value in enumerate(values) if n and value > min(values[:n])]  # losses
    assert worse == [len(values) - 1] == [made.epoch]  # the first that is not better is the last
    again = trainer(plain, tmp_path / "run", "training.epochs=9", "training.lr=0.5", "training.patience=1")
    again.resume()
    assert again.finished


def test_a_stream_has_a_head_start_too(plain: Path, tmp_path: Path) -> None:
    made = trainer(
        plain, tmp_path / "run", "data.streaming=true", "data.samples_per_epoch=48", "training.epochs=0"
    )
    made.fit()
    assert u2a.load(tmp_path / "run").evaluate().scores["accuracy"] > 0.9


def test_prediction_sets_and_calibration_reach_the_command_line(started: Path, plain: Path) -> None:
    picture = str(plain.parent / "test-1.png")
    done = CliRunner().invoke(
        main, ["predict", str(started), "--image", picture, "--coverage", "0.8", "--json"]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["set_from"] == "image"
    assert set(found["set"]) <= set(toys.WORDS)
    swept = CliRunner().invoke(main, ["eval", str(started), "--sweep", "--json"])
    for pattern in json.loads(swept.stdout)["patterns"]:
        calibrated = pattern["calibrated"]
        assert calibrated["n"] == COUNTS["test"]
        assert 0 <= calibrated["coverage"] <= 1
        assert (calibrated["rises"] is None) == (not pattern["dropped"])
    encoded = u2a.load(started).encode("test")
    for pattern, source, target in (([], 0, 0), (["text"], 0, 1), (["image"], 1, 0)):
        found = next(p for p in json.loads(swept.stdout)["patterns"] if p["dropped"] == pattern)["stand_ins"]
        z_ND, estimate_ND = encoded.cls_NMD[:, target], encoded.mask_NMMD[:, source, target]
        error = ((estimate_ND - z_ND) ** 2).sum() / ((z_ND - z_ND.mean(0)) ** 2).sum()
        names = ("image", "text")
        wanted = {f"{names[source]}_to_{names[target]}": pytest.approx(float(error), rel=1e-4)}
        assert found == (wanted if pattern else {})
    lines = CliRunner().invoke(main, ["eval", str(started), "--sweep"]).stdout
    assert "squared error of what stands in for the missing (1 = a constant): image to text " in lines
    assert "confidence rises when a modality is taken away: " in lines
    with pytest.raises(U2AError, match="between 0 and 1"):
        u2a.load(started).predict({"text": "the sea"}, coverage=1.5)


def test_baselines_are_scored_on_the_same_samples(started: Path) -> None:
    done = CliRunner().invoke(main, ["baselines", str(started), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [row["missing"] for row in result["patterns"]] == [[], ["text"], ["image"]]
    for row in result["patterns"]:
        assert row["n"] == COUNTS["test"]
        assert row["majority"]["score"] == pytest.approx(0.25)
        assert row["score"] - row["probe"]["score"] == pytest.approx(row["probe"]["difference"])
    assert result["verdict"]
