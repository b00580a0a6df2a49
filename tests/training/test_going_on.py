"""Going on: checkpoints by the clock, finished runs with more epochs, runs begun from another's adapter."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
import toys
from click.testing import CliRunner
from processes import Python
from safetensors.torch import load_file

from u2a.cli.main import main
from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.training.schedule import choose_epochs, learning_rate


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts={"train": 60, "val": 8, "test": 8})


def u2a(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def train(*words: object, sets: tuple[str, ...] = (), code: int = 0) -> str:
    return u2a("train", *words, *(part for one in sets for part in ("--set", one)), code=code)


def learned(run: Path, pointer: str = "LAST") -> dict[str, torch.Tensor]:
    return load_file(checkpoint.current(run / "checkpoints", pointer) / "adapter.safetensors")


def equal(one: Path, other: Path) -> bool:
    a, b = learned(one), learned(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["type"] == "train"]


LONG = ("training.epochs=2", "training.batch_size=1", "model.lora_dropout=0.1")


def test_kill_9_in_the_middle_of_an_epoch_loses_no_more_than_save_minutes(toy: Path, tmp_path: Path) -> None:
    train(toy, "--run", tmp_path / "whole", sets=(*LONG, "training.save_minutes=0"))
    run = tmp_path / "killed"
    sets = [part for one in (*LONG, "training.save_minutes=1e-6") for part in ("--set", one)]
    process = Python("-m", "u2a", "train", toy, "--run", run, *sets)
    deadline = time.monotonic() + 120
    last = run / "checkpoints/LAST"
    while not last.exists() or not 10 <= int(last.read_text().split("-")[1]) % 60 <= 50:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.kill()
    process.wait()
    meta = checkpoint.verify(checkpoint.current(run / "checkpoints", "LAST"))
    assert meta["step"] % 60
    logged = losses(run)[-1][0]
    assert logged - meta["step"] <= 1  # every step was saved; at most the one under way is lost
    said = train(run, "--resume")
    assert f"from step {meta['step']} of 120" in said
    assert equal(run, tmp_path / "whole")
    assert losses(run) == losses(tmp_path / "whole")


def test_a_finished_run_goes_on_to_more_epochs(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(toy, "--run", run, sets=("training.epochs=2",))
    before = losses(run)
    said = train(toy, "--run", run, "--resume", sets=("training.epochs=5",))
    steps = before[-1][0]
    assert f"extended from 2 to 5 epochs: from step {steps} on" in said
    after = losses(run)
    assert after[: len(before)] == before
    assert after[-1][0] == steps // 2 * 5
    recipe = json.loads(u2a("recipe", "show", run / "recipe.toml", "--json"))
    assert recipe["training"]["epochs"] == 5
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = {line["step"]: line["lr"] for line in lines if line["type"] == "train"}
    longer = load_recipe(run / "recipe.toml").training
    assert rates[steps + 1] == learning_rate(steps, steps // 2, longer)
    assert "in the same run" not in train(run, "--resume")
    refused = train(toy, "--run", run, "--resume", sets=("training.epochs=3",), code=2)
    assert "training.epochs differ" in refused


def test_a_run_that_saved_nothing_yet_is_given_more_epochs(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(toy, "--run", run, sets=("training.epochs=1",))
    shutil.rmtree(run / "checkpoints")
    train(toy, "--run", run, "--resume", sets=("training.epochs=3",))
    assert load_recipe(run / "recipe.toml").training.epochs == 3
    before = losses(run)
    train(run, "--resume")
    assert losses(run) == before


def test_a_run_that_patience_ended_goes_on_when_asked_for_more(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sets = ("training.patience=1", "training.lr=1e-12", "training.lr_factors.head=0")
    train(toy, "--run", run, sets=(*sets, "training.epochs=2"))
    train(toy, "--run", run, "--resume", sets=(*sets, "training.epochs=4"))
    assert losses(run)[-1][0] > losses(run)[0][0]


def test_a_run_begins_with_what_another_has_learned(toy: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train(toy, "--run", first, sets=("training.epochs=2",))
    same = tmp_path / "same"
    said = train(toy, "--run", same, sets=("training.epochs=0", f"training.start_from={first}"))
    assert "tensors" in said
    assert "begun anew" not in said
    assert all(torch.equal(a, learned(first, "BEST")[name]) for name, a in learned(same).items())
    classes = json.loads(u2a("recipe", "show", toy, "--json"))["task"]["classes"]
    other = tmp_path / "other"
    renamed = json.dumps([*classes[1:], classes[0]])
    said = train(
        toy,
        "--run",
        other,
        sets=("training.epochs=0", f"training.start_from={first}", f"task.classes={renamed}"),
    )
    assert "begun anew: head" in said
    taken, theirs = learned(other), learned(first, "BEST")
    lora = [name for name in taken if "lora" in name]
    assert lora
    assert all(torch.equal(taken[name], theirs[name]) for name in lora)
    assert not all(torch.equal(taken[n], theirs[n]) for n in taken if n.startswith("head."))


def test_what_cannot_be_begun_from_is_refused(toy: Path, tmp_path: Path) -> None:
    said = train(toy, "--run", tmp_path / "run", sets=(f"training.start_from={tmp_path}",), code=2)
    assert "training.start_from" in said
    assert "not a run folder" in said


@pytest.fixture(scope="module")
def unsaid(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe that says no word of training, and one whose data has no validation split."""
    folder = tmp_path_factory.mktemp("unsaid")
    for name, counts in {"watched": {"train": 20, "val": 12}, "unwatched": {"train": 20}}.items():
        made = toys.make(folder / name, checkpoints, counts={**counts, "test": 8})
        text = made.read_text()
        (folder / name / "recipe.toml").write_text(
            f'{text[: text.index("[model]")]}[model]\nread_out = "both"\n[training]\nbatch_size = 12\n'
        )
    return folder


@pytest.mark.parametrize(
    ("name", "sets", "epochs"),
    [
        ("watched", (), 10),
        ("unwatched", (), 5),  # nothing would tell that ten are too many
        ("unwatched", ("data.holdout=0.3",), 10),
        ("unwatched", ("training.epochs=10",), 10),  # as somebody said
    ],
)
def test_where_nobody_says_how_many_epochs(
    unsaid: Path, tmp_path: Path, name: str, sets: tuple[str, ...], epochs: int
) -> None:
    run, sets = tmp_path / "run", (*sets, "training.patience=0")
    train(unsaid / name / "recipe.toml", "--run", run, sets=sets)
    assert len({step for step, _ in losses(run)}) == epochs  # of one step each
    recipe = json.loads(u2a("recipe", "show", run / "recipe.toml", "--json"))
    assert recipe["training"]["epochs"] == epochs


@pytest.mark.parametrize(
    ("steps", "validates", "epochs"),
    [
        (1, True, 10),
        (80, True, 10),
        (100, True, 8),
        (150, True, 6),
        (195, True, 5),
        (9999, True, 5),
        (1, False, 5),
    ],
)
def test_small_sets_are_seen_more_often(unsaid: Path, steps: int, validates: bool, epochs: int) -> None:
    recipe = load_recipe(unsaid / "watched/recipe.toml")
    assert choose_epochs(recipe, steps, validates=validates).training.epochs == epochs
    said = load_recipe(unsaid / "watched/recipe.toml", ["training.epochs=7"])
    assert choose_epochs(said, steps, validates=validates).training.epochs == 7


def test_a_run_goes_on_with_its_own_epochs_where_nobody_says_how_many(unsaid: Path, tmp_path: Path) -> None:
    recipe, run = unsaid / "watched/recipe.toml", tmp_path / "run"
    train(recipe, "--run", run, sets=("training.epochs=2",))
    before = losses(run)
    assert "extended" not in train(recipe, "--run", run, "--resume")
    assert losses(run) == before
    assert "extended from 2 to 12 epochs" in train(
        recipe, "--run", run, "--resume", sets=("training.epochs=12",)
    )
    assert "extended" not in train(recipe, "--run", run, "--resume")  # has more than it would be given
