"""Grids of trainings and comparisons of runs."""

from __future__ import annotations

import json
import math
import shutil
import statistics
from pathlib import Path

import four
import pytest
import torch
from processes import as_forks

from u2a.common.distributed import World
from u2a.errors import RecipeError, U2AError
from u2a.evaluation import trained as api
from u2a.recipe.file import dump_recipe
from u2a.report.compare import compare_runs
from u2a.runs.folder import Run
from u2a.training import grid as sweep
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))

FAST = ("training.epochs=1", "training.batch_size=12")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    return four.make(tmp_path_factory.mktemp("sweep"), checkpoints)


@pytest.fixture(scope="module")
def runs(recipe: Path) -> list[str]:
    folder = recipe.parent
    found = [four.train(recipe, folder / f"run-{seed}", *FAST, f"seed={seed}") for seed in (0, 1)]
    return [str(run) for run in found]


# --- grids ---


def test_grid_values_are_cut_at_commas_outside_brackets_and_quotes():
    grid = sweep.parse_grid(["a.b=0, 0.7", "modalities.x.crop=[0.7, 1.0],[1.0, 1.0]", "k='x,y',z"])
    assert grid == {
        "a.b": ["0", "0.7"],
        "modalities.x.crop": ["[0.7, 1.0]", "[1.0, 1.0]"],
        "k": ["'x,y'", "z"],
    }


@pytest.mark.parametrize("value", ["a.b", "=1", "a.b=", "a.b=1,,2", "seed=1,2"])
def test_grids_are_refused_in_one_line(value: str):
    with pytest.raises(U2AError, match=r"--grid "):
        sweep.parse_grid([value])


def test_every_recipe_is_validated_before_any_training(recipe: Path, tmp_path: Path):
    grid = {"training.lr": ["1e-3", "-1", "fast"]}
    with pytest.raises(RecipeError) as error:
        sweep.plan_jobs(str(recipe), grid, [0], (), tmp_path / "out")
    assert "training.lr=-1, seed 0" in str(error.value)
    assert "training.lr=fast" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_every_combination_has_a_folder_of_its_own(recipe: Path, tmp_path: Path):
    grid = {"training.lr": ["1e-3", "1e-2"], "name": ["a/b", "a?b"]}
    with pytest.raises(RecipeError):  # those are no names, but would be no folders either
        sweep.plan_jobs(str(recipe), grid, [0], (), tmp_path)
    assert len({sweep._folder_name({"name": value}) for value in ("a/b", "a?b", "a_b")}) == 3
    jobs = sweep.plan_jobs(str(recipe), {"training.lr": ["1e-3", "1e-2"]}, [0, 1], (), tmp_path)
    assert [str(job.run.folder.relative_to(tmp_path)) for job in jobs] == [
        "training.lr=1e-3/seed-0",
        "training.lr=1e-3/seed-1",
        "training.lr=1e-2/seed-0",
        "training.lr=1e-2/seed-1",
    ]


def test_sweep_trains_goes_on_after_a_failure_and_keeps_what_is_finished(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first training wants larger batches than there are samples, which only the data can tell."""
    started = as_forks(monkeypatch)
    out = tmp_path / "out"
    grid = ["--seeds", "3", "--grid", "training.batch_size=99,12", "--set", "training.epochs=1"]
    text = four.invoke("sweep", str(recipe), *grid, "--out", str(out), code=2)
    assert f"{out}/training.batch_size=99/seed-3: training failed (exit code 2)" in text
    whole = out / "training.batch_size=12/seed-3"
    _check_results(out, whole)
    saved = (whole / "checkpoints/LAST").stat().st_mtime_ns
    jobs = sweep.plan_jobs(str(recipe), {"training.batch_size": ["12"]}, [3], ("training.epochs=1",), out)
    said: list[str] = []
    assert sweep.run_jobs(jobs, say=said.append) == {}
    assert said == ["1/1  training.batch_size=12, seed 3: finished already"]
    assert [command[1:4] for command in started] == [["-m", "u2a", "train"]] * 2
    assert (whole / "checkpoints/LAST").stat().st_mtime_ns == saved


def _check_results(out: Path, whole: Path) -> None:
    result = json.loads((out / "sweep.json").read_text())
    (cell,) = result["cells"]
    assert (cell["values"], cell["seeds"]) == ({"training.batch_size": "12"}, [3])
    assert result["runs"][0]["run"] == str(whole)
    assert Run(whole).recipe().training.batch_size == 12
    rows = (out / "sweep.csv").read_text().splitlines()
    assert len(rows) == 1 + 15
    assert rows[0].startswith("training.batch_size,seeds,missing,accuracy mean")


@pytest.mark.slow
def test_a_grid_of_trainings_on_two_processes(recipe: Path, tmp_path: Path):
    jobs = sweep.plan_jobs(str(recipe), {}, [0], FAST, tmp_path / "out")
    assert sweep.run_jobs(jobs, nproc=2, say=print) == {}
    assert sweep.finished(jobs[0].run)


def test_a_training_that_owes_its_last_validation_is_not_finished(runs: list[str], tmp_path: Path):
    run = Run(shutil.copytree(runs[0], tmp_path / "run"))
    assert sweep.finished(run)
    trainer = Trainer(run.recipe(), run, ALONE)
    trainer.resume()
    trainer._save()  # as after a validation that met bad data
    (run.checkpoints / "BEST").unlink()
    assert not sweep.finished(run)


def test_an_undefined_score_or_a_pattern_that_a_seed_lacks_spoils_no_summary(tmp_path: Path):
    def member(seed: int, *patterns: tuple[list[str], float]) -> dict:
        rows = [{"dropped": dropped, "scores": {"map": score}} for dropped, score in patterns]
        return {"values": {"lr": "1"}, "seed": seed, "patterns": rows}

    summary = sweep._summary(
        [member(0, ([], 0.5), (["a"], math.nan), (["b"], 0.1)), member(1, ([], 0.7), (["a"], 0.5))]
    )
    complete, without_a, without_b = summary["patterns"]
    assert complete["mean"]["map"] == pytest.approx(0.6)
    assert complete["sd"]["map"] == pytest.approx(statistics.stdev([0.5, 0.7]))
    assert math.isnan(without_a["mean"]["map"])
    assert (without_b["seeds"], without_b["mean"]["map"], without_b["sd"]["map"]) == (1, 0.1, None)
    sweep.write_sweep({"split": "test", "runs": [], "cells": [summary]}, tmp_path)
    written = json.loads((tmp_path / "sweep.json").read_text(), parse_constant=pytest.fail)
    assert written["cells"][0]["patterns"][1]["mean"]["map"] is None


def test_means_and_deviations_are_over_seeds_as_the_paper_gives_them(recipe: Path, runs: list[str]):
    jobs = [sweep.Job(str(recipe), {"lr": "1"}, seed, Run(run), ()) for seed, run in enumerate(runs)]
    jobs.append(sweep.Job(str(recipe), {"lr": "2"}, 0, Run("nowhere"), ()))
    (cell,) = sweep.collect(jobs, "test", (), lambda line: None)["cells"]
    scores = [api.load(run).evaluate(("left",)).scores["f1_macro"] for run in runs]
    pattern = next(p for p in cell["patterns"] if p["dropped"] == ["left"])
    assert cell["seeds"] == [0, 1]
    assert pattern["mean"]["f1_macro"] == pytest.approx(sum(scores) / 2)
    assert pattern["sd"]["f1_macro"] == pytest.approx(statistics.stdev(scores))


def test_seeds_that_were_trained_for_other_epochs_are_not_averaged(
    recipe: Path, runs: list[str], tmp_path: Path
):
    longer = Run(shutil.copytree(runs[1], tmp_path / "longer"))
    longer.recipe_file.write_text(dump_recipe(longer.recipe().with_epochs(7)))
    jobs = [sweep.Job(str(recipe), {"lr": "1"}, 0, Run(runs[0]), ())]
    apart = [*jobs, sweep.Job(str(recipe), {"lr": "2"}, 1, longer, ())]
    assert len(sweep.collect(apart, "test", (), lambda line: None)["cells"]) == 2
    jobs.append(sweep.Job(str(recipe), {"lr": "1"}, 1, longer, ()))
    with pytest.raises(U2AError, match=r"longer was trained for 7 epochs, .*run-0 for 1"):
        sweep.collect(jobs, "test", (), lambda line: None)


def test_a_folder_of_another_recipe_is_refused(recipe: Path, runs: list[str], tmp_path: Path):
    jobs = sweep.plan_jobs(str(recipe), {}, [0], ("training.lr=0.5", *FAST), tmp_path)
    other = sweep.Job(str(recipe), {}, 0, Run(runs[0]), jobs[0].sets)
    with pytest.raises(U2AError, match="another recipe"):
        sweep.run_jobs([other], say=print)


@pytest.mark.parametrize("seeds", ["", "0,0", "a", "-1"])
def test_seeds_are_refused_in_one_line(recipe: Path, seeds: str):
    assert "--seeds" in four.invoke("sweep", str(recipe), f"--seeds={seeds}", code=2)


# --- comparisons ---


def test_compare_scores_equal_eval_and_differences_are_paired(runs: list[str]):
    result = compare_runs([*runs, runs[0]], drop=["left"])
    for row in result["runs"]:
        assert row["score"] == pytest.approx(api.load(row["run"]).evaluate(["left"]).scores["accuracy"])
    same = result["runs"][2]
    assert (same["difference"], same["better"], same["verdict"]) == (0, 0.5, None)  # ties count half
    assert same["difference_interval"][0] == -same["difference_interval"][1] < 0
    other = result["runs"][1]
    assert other["difference"] == pytest.approx(other["score"] - result["runs"][0]["score"])
    assert other["difference_interval"][0] <= other["difference"] <= other["difference_interval"][1]


def test_compare_refuses_to_drop_what_no_run_has(runs: list[str]):
    message = four.invoke("compare", *runs, "--drop", "left,rihgt", code=2)
    assert "--drop rihgt: no such modality; these runs have left, right, title, plot" in message


def test_compare_needs_the_same_data(recipe: Path, runs: list[str]):
    masked = str(four.train(recipe, recipe.parent / "masked", *FAST, "data.missing.rate=0.5"))
    message = four.invoke("compare", runs[0], masked, code=2)
    assert "other test data or missing table" in message
    text = four.invoke("compare", runs[0], masked, "--set", "data.missing.test.rate=0", "--json")
    assert json.loads(text)["n"] == 20
    assert "better in" in four.invoke("compare", *runs)
    assert "at least two runs" in four.invoke("compare", runs[0], code=2)


def test_compare_leaves_out_what_any_run_cannot_score(
    runs: list[str], recipe: Path, checkpoints: dict[str, Path], tmp_path: Path
):
    gappy = four.make(tmp_path / "gaps", checkpoints, gaps=True)
    run = str(four.train(gappy, tmp_path / "run", *FAST))
    result = compare_runs([run, run], drop=["left"])
    assert (result["n"], result["n_empty"]) == (15, 5)
    assert torch.tensor([row["score"] for row in result["runs"]]).diff().item() == 0
