"""Loggers: each shipped one writes with its real library and is read back; a broken one stops nothing."""

from __future__ import annotations

import importlib
import json
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from click.testing import CliRunner
from distributions import install, visible

import u2a
from u2a.cli.main import main
from u2a.common.distributed import World
from u2a.contract.blame import Owner
from u2a.data.feeding.batches import Batch, unwrap
from u2a.errors import PluginError, RecipeError
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.loggers import Loggers, check_loggers
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
TORN = """
import u2a

class Torn:
    def __init__(self, when): self.when = when
    def log(self, values, step, kind):
        if self.when == "log" and step == 3: raise OSError("the disk\\nis full")
    def close(self, failed): raise ValueError(f"cannot close, failed={failed}")

def at_open(folder, recipe, done): raise SystemExit("not logged in")

@u2a.hookimpl
def u2a_register_loggers(register):
    register(u2a.LoggerSpec("torn_open", at_open))
    register(u2a.LoggerSpec("torn_log", lambda folder, recipe, done: Torn("log")))
    register(u2a.LoggerSpec("torn_close", lambda folder, recipe, done: Torn("close")))
    register(u2a.LoggerSpec("absent", at_open, module="no_such.module", install="pip install nothing"))
"""


def needs(module: str) -> None:
    pytest.importorskip(module, reason=f'the library of this extra is not here: pip install "u2a[{module}]"')


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 16, "val": 8}
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts=counts)


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A distribution of loggers that break in every way."""
    site = tmp_path_factory.mktemp("site")
    install(site, "u2a-plugin-frail", {"frail": "plugin_frail"}, code=TORN)
    with visible(site):
        yield


def trainer(recipe_file: Path, run: Path, *sets: str) -> Trainer:
    recipe = load_recipe(recipe_file, sets)
    made = Trainer(recipe, Run(run), ALONE)
    made.run.create(recipe)
    return made


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def stopped_after(made: Trainer, step: int) -> None:
    """Train up to a step at which SIGTERM arrives."""
    train_step = made.train_step

    def until(micro_batches: list[Batch]) -> dict[str, float]:
        made.stop.asked = signal.SIGTERM if made.done + 1 == step else 0
        return train_step(micro_batches)

    made.train_step = until  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        made.fit()
    made.train_step = train_step  # type: ignore[method-assign]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_what_metrics_jsonl_says_after_a_resume_too(toy: Path, tmp_path: Path) -> None:
    needs("tensorboard")
    sets = ['training.loggers=["tensorboard"]', "training.epochs=3"]
    first = trainer(toy, tmp_path / "run", *sets)
    stopped_after(first, 4)
    batch = unwrap(next(iter(first.data.loader(4, 5))))
    loggers = Loggers(["tensorboard"], first.recipe, first.run.folder, print)
    loggers.done = 4
    with loggers:
        loggers.log(first.train_step([batch]) | {"loss": -1.0}, 5, "train")  # a step that a crash loses
    second = trainer(toy, tmp_path / "run", *sets)
    second.resume()
    assert second.done == 4
    second.fit()
    shown, lines = scalars(tmp_path / "run/tensorboard"), lines_of(tmp_path / "run")
    for kind in ("train", "validation"):
        said = [line for line in lines if line["type"] == kind]
        assert [line["step"] for line in said] == ([1, 2, 3, 4, 5, 6] if kind == "train" else [2, 4, 6])
        for name in said[0].keys() - {"type", "step"}:
            assert shown[f"{kind}/{name}"] == [
                (line["step"], pytest.approx(line[name], rel=1e-6)) for line in said
            ]
    assert {"train/alignment_loss", "train/lr", "validation/accuracy"} <= set(shown)


def write(tool: str, folder: Path, *, done: int, steps: range, failed: bool = False) -> None:
    """What a training does with a logger."""
    recipe = {"name": "toy", "seed": 0, "task": {"classes": ["a", "b"]}, "training": {"lr": 1e-3}}
    logger = registry().loggers.specs[tool].open(folder, recipe, done)
    for step in steps:
        logger.log({"loss": 1 / step, "lr": 0.5}, step, "train")
    logger.log({"accuracy": 0.75}, steps[-1], "validation")
    logger.close(failed)


def write_and_resume(tool: str, folder: Path) -> None:
    """Four steps, broken off after the third was saved; then from there to the sixth."""
    folder.mkdir(parents=True)
    write(tool, folder, done=0, steps=range(1, 5), failed=True)
    write(tool, folder, done=3, steps=range(4, 7))


LOSSES = {step: 1 / step for step in range(1, 7)}


@pytest.mark.filterwarnings("ignore")
def test_mlflow_goes_on_in_one_run_of_a_local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("mlflow")
    needs("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_and_resume("mlflow", tmp_path / "runs/toy-001")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.run_name for run in runs] == ["toy-001"]
    assert runs[0].info.status == "FINISHED"
    assert runs[0].data.params == {
        "name": "toy",
        "seed": "0",
        "task.classes": '["a", "b"]',
        "training.lr": "0.001",
    }
    history = client.get_metric_history(runs[0].info.run_id, "train/loss")
    assert {point.step: point.value for point in history} == pytest.approx(LOSSES)
    scores = client.get_metric_history(runs[0].info.run_id, "validation/accuracy")
    assert [(point.step, point.value) for point in scores] == [(4, 0.75), (6, 0.75)]


def wandb_history(file: Path) -> Iterator[dict[str, Any]]:
    """The points in an offline run's file: LevelDB's log format after 7 bytes, of protobuf records."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, at, body = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, part = struct.unpack("<HB", data[at + 4 : at + 7])
        body += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):  # whole, or the last piece
            record, body = Record.FromString(body), b""
            if record.HasField("history"):
                items = {
                    (i.key or ".".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item
                }
                yield items


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_goes_on_under_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    import wandb

    run = tmp_path / "toy-001"
    run.mkdir()
    for done, steps in ((0, range(1, 5)), (3, range(4, 7))):
        write("wandb", run, done=done, steps=steps, failed=not done)
        wandb.teardown()  # as the end of the process does; two runs of one id in one process share a stream
    name = (run / "wandb.id").read_text().strip()
    files = sorted(run.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb"), key=lambda p: p.stat().st_mtime)
    assert len(files) == len(list(run.glob("wandb/offline-run-*"))) == 2
    points = [point for file in files for point in wandb_history(file)]
    assert {p["_step"]: p["train/loss"] for p in points} == pytest.approx(LOSSES)
    assert {p["_step"]: p["validation/accuracy"] for p in points if "validation/accuracy" in p} == {
        4: 0.75,
        6: 0.75,
    }


def test_wandb_asks_nothing_where_nobody_is_logged_in(tmp_path: Path) -> None:
    needs("wandb")
    code = f"""
from pathlib import Path
from u2a.plugins.loading import registry
folder = Path({str(tmp_path)!r})
registry().loggers.specs["wandb"].open(folder, {{"name": "toy"}}, 0).close(False)
"""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


@pytest.mark.filterwarnings("ignore")
def test_trackio_goes_on_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))  # read when trackio is imported
    assert "trackio" not in sys.modules
    needs("trackio")
    write_and_resume("trackio", tmp_path / "toy-001")
    assert capsys.readouterr().out == ""
    with sqlite3.connect(tmp_path / "store/toy.db") as store:
        rows = store.execute("select run_id, run_name, step, metrics from metrics").fetchall()
    store.close()
    assert {row[1] for row in rows} == {"toy-001"}
    assert len({row[0] for row in rows}) == 1
    points = [(step, json.loads(metrics)) for _, _, step, metrics in rows]
    assert {s: p["train/loss"] for s, p in points if "train/loss" in p} == pytest.approx(LOSSES)
    assert {s: p["validation/accuracy"] for s, p in points if "validation/accuracy" in p} == {4: 0.75, 6: 0.75}


def test_broken_loggers_are_told_of_in_one_line_each_and_stop_nothing(
    torn: None, toy: Path, tmp_path: Path
) -> None:
    loggers = '["torn_open", "torn_log", "torn_close"]'
    command = ["train", str(toy), "--run", str(tmp_path / "run"), "--set", f"training.loggers={loggers}"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    told = [line for line in done.stderr.splitlines() if "left out" in line]
    owner = "(plugin 'frail' of u2a-plugin-frail 1.0) failed and is left out"
    assert told == [
        f"logger 'torn_open' {owner}: SystemExit: not logged in",
        f"logger 'torn_log' {owner}: OSError: the disk is full",
        f"logger 'torn_close' {owner}: ValueError: cannot close, failed=False",
    ]
    assert len(lines_of(tmp_path / "run")) == 4 + 2


def test_a_training_that_breaks_off_closes_its_loggers_as_failed(torn: None, toy: Path, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = load_recipe(toy)
    with (
        pytest.raises(KeyboardInterrupt),
        Loggers(["torn_close"], recipe, tmp_path, said.append),
    ):
        raise KeyboardInterrupt
    assert len(said) == 1
    assert "cannot close, failed=True" in said[0]


def test_unknown_and_uninstalled_loggers_are_refused_before_any_compute(torn: None, toy: Path) -> None:
    recipe = load_recipe(toy, ['training.loggers=["tensorbord", "absent"]'])
    with pytest.raises(RecipeError) as caught:
        check_loggers(recipe)
    unknown, absent = str(caught.value).splitlines()
    assert (
        "training.loggers: no installed plugin brings the logger 'tensorbord'; did you mean 'tensorboard'?"
        in (unknown)
    )
    assert "mlflow, tensorboard" in unknown
    assert absent.endswith("needs no_such.module, which is not installed: pip install nothing")
    sets = ["--set", 'training.loggers=["absent"]']
    for command in (["recipe", "check", str(toy), *sets], ["train", str(toy), *sets, "--run", "/nowhere"]):
        done = CliRunner().invoke(main, command)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output


def test_the_shipped_loggers_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import metadata

    extras = set(metadata("u2a").get_all("Provides-Extra") or [])
    for name in ("tensorboard", "wandb", "mlflow", "trackio"):
        spec = registry().loggers.specs[name]
        assert spec.install == f'pip install "u2a[{name}]"'
        assert name in extras
        assert importlib.util.find_spec(f"u2a_loggers.{name}")
        assert replace(spec, module="no_such_module").ready is False


def no_logger(folder: Path, recipe: Any, done: int) -> Any:
    """What a spec's `open` looks like."""


def _refused_beside_own(spec: u2a.LoggerSpec) -> str:
    with pytest.raises(PluginError) as caught:
        replace(registry().loggers, brought=dict(registry().loggers.brought)).add(
            Owner("x", "x-dist", "1"), spec
        )
    return str(caught.value)


def test_what_is_no_sound_logger_is_refused() -> None:
    def refusal(spec: Any) -> str:
        class Plugin:
            @staticmethod
            @u2a.hookimpl
            def u2a_register_loggers(register: Any) -> None:
                register(spec)

        found = Registry()
        found.add(Owner("first", "first-dist", "1"), sound)
        found.add(Owner("x", "x-dist", "1"), Plugin())
        if found.failures:
            return found.failures[0].reason
        try:
            found.loggers.find(spec.name)
        except PluginError as error:
            return str(error)
        return ""

    class Sound:
        @staticmethod
        @u2a.hookimpl
        def u2a_register_loggers(register: Any) -> None:
            register(u2a.LoggerSpec("paper", no_logger))

    sound, good = Sound(), u2a.LoggerSpec("pencil", no_logger)
    assert refusal(good) == ""
    assert refusal("pencil") == "register() wants a LoggerSpec, got str"
    several = refusal(replace(good, name="paper"))
    assert "is brought by plugin 'first' of first-dist 1 and plugin 'x' of x-dist 1; say whose" in several
    assert "already registered by plugin 'loggers' of u2a" in _refused_beside_own(replace(good, name="wandb"))
    assert "made for contract version 9" in refusal(replace(good, api=9))
    assert "not made of lower-case letters" in refusal(replace(good, name="Pen cil"))
    assert "open must be callable" in refusal(replace(good, open=None))  # type: ignore[arg-type]
