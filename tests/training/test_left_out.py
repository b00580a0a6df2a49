"""``data.on_error``: samples that cannot be read end the work, or are left out, counted and named."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from click.testing import CliRunner
from safetensors.torch import load_file

from u2a.cli.main import main
from u2a.common.distributed import World
from u2a.common.terminal import console
from u2a.data.feeding.batches import Collator
from u2a.data.feeding.unreadable import Failed, Unreadable, failure, lines_of
from u2a.data.packing.pack import pack_manifest
from u2a.errors import BadSample, U2AError
from u2a.evaluation.trained import load
from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training.left_out import LeftOut
from u2a.training.trainer import Trainer

DAMAGED = {"train-3", "train-10", "train-17", "val-2", "test-1", "test-6"}
SKIP = ("--set", "data.on_error=skip")


def u2a(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def damage(shards: Path, keys: Iterable[str]) -> None:
    """Overwrite these samples' pictures where they stand, as a failing disk does."""
    for shard in shards.glob("*.tar"):
        with tarfile.open(shard) as tar:
            places = {one.name: one.offset_data for one in tar}
        with shard.open("r+b") as stream:
            for key in keys:
                if f"{key}.image.png" in places:
                    stream.seek(places[f"{key}.image.png"])
                    stream.write(b"\0" * 30)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 24, "val": 8, "test": 12}
    toy = toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts=counts, shard_size=7)
    damage(toy.parent / "shards", DAMAGED)
    return toy


@pytest.fixture(scope="module")
def trained(toy: Path) -> tuple[Path, str]:
    run = toy.parent / "run"
    return run, u2a("train", toy, "--run", run, *SKIP, "--no-baselines")


def lines(run: Path) -> list[dict[str, Any]]:
    found = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k != "samples_per_second"} for line in found]


def unreadable(run: Path) -> list[dict[str, Any]]:
    return [line for line in lines(run) if line["type"] == "unreadable"]


def learned(run: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.current(run / "checkpoints", "LAST") / "adapter.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = learned(one), learned(other)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_by_default_the_first_one_ends_the_training_and_says_how_to_go_on(
    toy: Path, trained: tuple[Path, str], tmp_path: Path
) -> None:
    told = u2a("train", toy, "--run", tmp_path / "run", "--no-baselines", code=2)
    (error,) = (line for line in told.splitlines() if line.startswith("error"))
    assert any(f"sample '{key}': image: cannot be decoded" in error for key in DAMAGED)
    assert error.startswith(("error: train-00000", "error: val-000000.tar"))
    assert error.endswith("to leave such samples out and count them: --set data.on_error=skip")
    u2a("train", tmp_path / "run", "--resume", *SKIP, "--no-baselines")
    assert same(tmp_path / "run", trained[0])
    assert load_recipe(tmp_path / "run/recipe.toml").data.on_error == "skip"
    u2a("eval", tmp_path / "run")  # the recipe of the run says so now


def test_each_is_told_once_and_kept_with_its_reason(trained: tuple[Path, str]) -> None:
    run, told = trained
    found = {line["key"]: line for line in unreadable(run)}
    assert set(found) == {key for key in DAMAGED if not key.startswith("test")}
    assert len(unreadable(run)) == len(found)
    for key, line in found.items():
        assert line["split"] == key.split("-")[0]
        assert line["modality"] == "image"
        assert line["error"].startswith(f"{line['sample']}: image: cannot be decoded")
        assert told.count(f"sample '{key}'") == 1
    assert "samples left out, since they cannot be read: 3 of train, 1 of val" in told
    meta = checkpoint.verify(checkpoint.current(run / "checkpoints", "LAST"))
    assert meta["left_out"] == {"train": 3, "val": 1}


def test_every_step_says_how_many_it_lacks(toy: Path, trained: tuple[Path, str]) -> None:
    """Of each epoch's three steps of eight, by the plan's own order."""
    data = load_recipe(toy, ("data.on_error=skip", f"data.shards={toy.parent / 'shards'}"))
    plan = Trainer(data, Run(toy.parent / "none"), ALONE).data.plan
    bad = {int(key.split("-")[1]) for key in DAMAGED if key.startswith("train")}
    wanted = []
    for t in range(6):
        step = plan.step(t)
        wanted.append(
            sum(int(i) in bad and bool(row[0]) for i, row in zip(step.index_B, step.present_BM, strict=True))
        )
    steps = [line for line in lines(trained[0]) if line["type"] == "train"]
    assert [line.get("left_out", 0) for line in steps] == wanted
    new = [line["step"] for line in unreadable(trained[0]) if line["split"] == "train"]
    assert [new.count(step) for step in (1, 2, 3)] == wanted[:3]  # in the first epoch all are new
    assert sum(wanted) > 0


ALONE = World(0, 1, 0, 1, torch.device("cpu"))


def test_workers_and_interruptions_change_nothing(toy: Path, trained: tuple[Path, str], tmp_path: Path) -> None:
    recipe = load_recipe(toy, ("data.on_error=skip", "data.workers=2"))
    first = Trainer(recipe, Run(tmp_path / "run"), ALONE)
    first.run.create(recipe)
    report = first._report

    def stopped(losses: dict[str, float]) -> None:
        report(losses)
        first.stop.asked = 2 if first.done == 4 else first.stop.asked

    first._report = stopped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    assert first.done == 4
    u2a("train", tmp_path / "run", "--resume", "--no-baselines")
    assert same(tmp_path / "run", trained[0])
    assert lines(tmp_path / "run") == lines(trained[0])


def test_scores_are_those_of_the_data_without_them(
    toy: Path, trained: tuple[Path, str], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (toy.parent / "manifest.jsonl").read_text().splitlines()]
    good = [row for row in rows if row["key"] not in DAMAGED]
    (toy.parent / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in good))
    pack_manifest(load_recipe(toy), toy.parent / "good.jsonl", tmp_path / "good")
    run, _ = trained
    told = u2a("eval", run, "--drop", "image")
    assert "N 10, n_empty 0, n_unreadable 2" in told
    assert "test: 2 of 12 samples cannot be read: left out" in told
    for how in (("--drop", "text"), ("--sweep",)):
        found, wanted = (
            json.loads(CliRunner().invoke(main, ["eval", str(run), *how, "--json", *where]).stdout)
            for where in ((), ("--set", f"data.shards={tmp_path / 'good'}"))
        )
        assert [one["key"] for one in found.pop("unreadable")] == ["test-1", "test-6"]
        for one, other in zip(found.get("patterns", [found]), wanted.get("patterns", [wanted]), strict=True):
            assert (one.pop("n_unreadable"), other.pop("n_unreadable")) == (2, 0)
            assert one["scores"] == pytest.approx(other["scores"], rel=1e-5)
            assert one["calibrated"]["nll"] == pytest.approx(other["calibrated"]["nll"], rel=1e-5)
            assert (one["n"], one["n_empty"], one["majority"]) == (10, 0, other["majority"])


def test_a_report_is_of_what_can_be_read(trained: tuple[Path, str], tmp_path: Path) -> None:
    u2a("report", trained[0], "--out", tmp_path / "report")
    found = json.loads((tmp_path / "report/report.json").read_text())["data"]
    assert (found["n"], found["n_unreadable"]) == (10, 2)


def test_a_whole_batch_may_be_left_out_but_not_a_whole_split(toy: Path, tmp_path: Path) -> None:
    """Batches of one sample: no step is taken, and no loss is told, where it is lost."""
    sets = ("--set", "training.batch_size=1", "--set", "training.epochs=1", *SKIP, "--no-baselines")
    u2a("train", toy, "--run", tmp_path / "run", "--set", "training.modality_dropout=off", *sets)
    steps = [line for line in lines(tmp_path / "run") if line["type"] == "train"]
    assert len(steps) == 24
    assert [sorted(line) for line in steps if "loss" not in line] == [["epoch", "left_out", "step", "type"]] * 3
    shutil.copytree(toy.parent / "shards", tmp_path / "shards")
    damage(tmp_path / "shards", [f"{split}-{i}" for split in ("train", "test") for i in range(24)])
    where = ("--set", f"data.shards={tmp_path / 'shards'}")
    told = u2a("eval", tmp_path / "run", *where, code=2)
    assert "test: none of 12 samples can be read; the first: test-000000.tar: sample 'test-0': image:" in told
    off = ("--set", "training.modality_dropout=off", "--set", "training.batch_size=8")
    told = u2a("train", toy, "--run", tmp_path / "none", *where, *SKIP, *off, code=2)
    assert "train: no sample of 3 steps can be read, such as train-00000" in told


def test_a_stream_leaves_out_likewise(toy: Path, tmp_path: Path) -> None:
    shards = [str(path) for path in sorted((toy.parent / "shards").glob("train-*.tar"))]
    text = toy.read_text().replace('shards = "shards"', f"shards = {{ train = {json.dumps(shards)} }}")
    text = text.replace("workers = 0", "workers = 0\nstreaming = true\nsamples_per_epoch = 24")
    (toy.parent / "stream.toml").write_text(text.replace('"auto"', '"off"'))
    u2a("train", toy.parent / "stream.toml", "--run", tmp_path / "run", *SKIP)
    keys = [line["key"] for line in unreadable(tmp_path / "run")]
    lost = sum(line.get("left_out", 0) for line in lines(tmp_path / "run") if line["type"] == "train")
    assert set(keys) <= {"train-3", "train-10", "train-17"}
    assert 1 <= len(keys) == len(set(keys)) <= lost


def lost(number: int) -> Unreadable:
    return Unreadable(number, f"a.tar: sample 'k{number}'", f"k{number}", "image", "is cut off")


def test_an_error_that_is_no_samples_ends_the_work_whatever_is_left_out() -> None:
    gone, bad = Failed(U2AError("the shard is gone")), failure(BadSample("is cut off"), 3, "a", "k3", "image")
    skipping: Any = Collator({"image": None}, 2, multi_label=False, skip=True)  # type: ignore[dict-item]
    assert skipping([bad, gone]) is gone
    assert [one.key for one in skipping([bad, bad]).unreadable] == ["k3", "k3"]


def test_of_many_samples_the_first_five_are_named() -> None:
    head, *named, more = lines_of("test", [lost(i) for i in range(7)], 20)
    assert head == "test: 7 of 20 samples cannot be read: left out"
    assert named == [f"  a.tar: sample 'k{i}': image: is cut off" for i in range(5)]
    assert more == "  and 2 more"
    assert len(lines_of("test", [lost(i) for i in range(5)], 20)) == 6


def test_only_an_epoch_without_any_sample_ends_a_training(tmp_path: Path) -> None:
    left_out = LeftOut(Run(tmp_path), ALONE, lambda line: None)
    left_out.add("train", [lost(1)], 0)
    for left in (0, 0, 1, 0, 0, 2):
        left_out.lacking(left, 3)
    left_out.lacking(0, 3)
    left_out.lacking(0, 3)
    with pytest.raises(U2AError, match="no sample of 3 steps can be read, such as a"):
        left_out.lacking(0, 3)


def test_a_model_names_what_it_cannot_read_once(trained: tuple[Path, str]) -> None:
    model = load(trained[0])
    with console.capture() as told:
        for _ in range(2):
            assert len(model.encode("test").unreadable) == 2
    assert told.get().count("sample 'test-1'") == 1
    assert told.get().count("2 of 12 samples cannot be read") == 1
