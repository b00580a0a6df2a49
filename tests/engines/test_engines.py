"""`--engine NAME`: the same work with the same result, whoever starts the processes."""

from __future__ import annotations

import filecmp
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toys
from click.testing import CliRunner, Result

import u2a
from u2a.cli.main import main
from u2a.contract.blame import Owner
from u2a.errors import PluginError
from u2a.plugins.loading import forget, registry
from u2a.plugins.registry import Registry
from u2a.recipe.file import load_recipe
from u2a.training.on_engine import RunTraining
from u2a_ray.workers import Reporter, trained

HERE = Path(__file__).parent / "here_engine.py"


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("U2A_PLUGIN", str(HERE))
    forget()
    assert "here" in registry().engines.specs
    import here_engine

    here_engine.TOLD.clear()
    here_engine.ASKED.clear()
    yield
    forget()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 20, "val": 8, "test": 8}
    return toys.make(tmp_path_factory.mktemp("engines"), checkpoints, counts=counts)


@pytest.fixture(scope="module")
def run(toy: Path) -> Path:
    said = u2a_("train", toy, "--run", toy.parent / "alone")
    assert said.exit_code == 0, said.output
    return toy.parent / "alone"


def u2a_(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def asked() -> list[object]:
    import here_engine

    return here_engine.ASKED


def told() -> list[dict[str, object]]:
    import here_engine

    return here_engine.TOLD


def test_a_training_is_the_same_and_tells_its_records(toy: Path, run: Path, tmp_path: Path) -> None:
    done = u2a_("train", toy, "--run", tmp_path / "run", "--engine", "here", "--workers", 3)
    assert done.exit_code == 0, done.output
    assert asked() == [("train", 3)]
    for name in ("adapter.safetensors", "optimizer.safetensors", "adapter.json"):
        last = f"checkpoints/step-00000004/{name}"
        assert (tmp_path / "run" / last).read_bytes() == (run / last).read_bytes()
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert told() == logged
    assert [record["type"] for record in logged].count("validation") == 2
    assert "holds a run already" in u2a_("train", toy, "--run", tmp_path / "run", "--engine", "here").output
    nothing_left = u2a_("train", tmp_path / "run", "--resume", "--engine", "here")
    assert (nothing_left.exit_code, len(told())) == (0, len(logged))


def test_what_a_record_speaks_of_is_saved_and_it_may_ask_for_a_stop(toy: Path, tmp_path: Path) -> None:
    saved: list[tuple[int, bool]] = []

    def report(record: dict[str, object]) -> bool:
        folder = tmp_path / f"run/checkpoints/step-{record['step']:08d}"
        if record["type"] == "validation":
            saved.append((int(str(record["step"])), folder.is_dir()))
        return record["step"] == 3

    training = RunTraining(load_recipe(toy), str(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        training(report)
    assert saved == [(2, True)]
    assert (tmp_path / "run/checkpoints/LAST").read_text() == "step-00000003\n"
    assert training(lambda record: None)
    assert not training(lambda record: None)


def test_ray_is_told_of_the_last_epoch_when_the_run_is_whole() -> None:
    """Tune may end a process at its report; how many epochs there will be, the data decides."""
    sent: list[tuple[int, float]] = []
    whole: list[bool] = []

    def training(report: Callable[[dict[str, Any]], bool]) -> bool:
        for epoch in (1, 2, 3):
            report({"type": "train", "epoch": epoch, "loss": 1.0 / epoch})
            report({"type": "validation", "epoch": epoch, "selected": float(epoch)})
            assert [told for told, _ in sent] == list(range(1, epoch))
        whole.append(True)
        return True

    def send(record: dict[str, Any]) -> None:
        assert bool(whole) == (record["epoch"] == 3)
        sent.append((record["epoch"], record["selected"]))

    assert trained(training, Reporter(send, lambda: False)) is True
    assert sent == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_validation_without_a_step_is_told(toy: Path, tmp_path: Path) -> None:
    records: list[str] = []
    recipe = load_recipe(toy, ["training.epochs=0"])
    RunTraining(recipe, str(tmp_path / "run"))(lambda record: records.append(record["type"]))
    assert records == ["validation"]


def test_predictions_are_the_same_bytes(toy: Path, run: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (toy.parent / "manifest.jsonl").read_text().splitlines()]
    del rows[1]["image"]
    rows = [{**row, "key": f"{i}-{row['key']}"} for i in range(3) for row in rows]
    (toy.parent / "broken.png").write_text("no picture")
    rows += [{"image": "broken.png"}, {"key": "nothing"}]
    manifest = toy.parent / "many.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = u2a_("predict", run, "--manifest", manifest, "--top", 2)
    on = u2a_("predict", run, "--manifest", manifest, "--top", 2, "--engine", "here", "--workers", 2)
    assert (plain.exit_code, on.exit_code) == (2, 2)
    assert on.stdout == plain.stdout
    assert on.stderr == plain.stderr
    assert asked() == [("map", (4, 2))]
    assert len(on.stdout.splitlines()) == len(rows) - 1


def test_a_packing_is_the_same_bytes(toy: Path, tmp_path: Path) -> None:
    manifest = toy.parent / "manifest.jsonl"
    how = ("--shard-size", 3, "--manifest", manifest)
    plain = u2a_("data", "pack", toy, "--out", tmp_path / "plain", *how)
    on = u2a_("data", "pack", toy, "--out", tmp_path / "on", *how, "--engine", "here", "--workers", 3)
    assert (plain.exit_code, on.exit_code) == (0, 0), on.output
    assert asked() == [("map", (3, 3))]
    assert on.stdout == plain.stdout.replace(str(tmp_path / "plain"), str(tmp_path / "on"))
    said = [line for line in plain.stderr.splitlines() if line.startswith("note")]
    assert on.stderr.splitlines() == said
    names = sorted(os.listdir(tmp_path / "plain"))
    assert filecmp.cmpfiles(tmp_path / "plain", tmp_path / "on", names, shallow=False) == (names, [], [])
    assert sorted(os.listdir(tmp_path)) == ["on", "plain"]
    again = u2a_("data", "pack", toy, "--out", tmp_path / "on", *how, "--engine", "here")
    assert "already holds a data set" in again.output


def test_in_a_sweep_cells_race_with_their_first_seed(toy: Path, tmp_path: Path) -> None:
    grid = ("--seeds", "0,1", "--grid", "training.lr=1e-2,1e-3", "--out", tmp_path, "--engine", "here")
    done = u2a_("sweep", toy, *grid, "--workers", 2)
    assert done.exit_code == 0, done.output
    race = u2a.Race(epochs=2, higher_is_better=False)  # losses
    assert asked() == [("sweep", (2, race)), ("sweep", (1, None))]
    assert "training.lr=1e-3, seed 0: ended early, behind others in validation" in done.stderr
    result = json.loads((tmp_path / "sweep.json").read_text())
    assert [(cell["values"], cell["seeds"]) for cell in result["cells"]] == [({"training.lr": "1e-2"}, [0, 1])]
    assert u2a_("sweep", toy, *grid).exit_code == 0
    assert len(asked()) == 2, "what is finished, or was ended, is not begun again"


def test_a_training_that_fails_in_a_sweep_is_named(toy: Path, tmp_path: Path) -> None:
    grid = ("--seeds", "0", "--grid", "training.batch_size=99", "--out", tmp_path, "--engine", "here")
    done = u2a_("sweep", toy, *grid)
    assert done.exit_code == 2
    assert "seed-0: training failed (" in done.stderr
    assert "batch_size" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("train", "x.toml", "--engine", "hare"),
            "no installed plugin brings the engine 'hare'; did you mean 'here'",
        ),
        (
            ("train", "x.toml", "--engine", "gone"),
            "needs no_such_module_at_all, which is not installed: pip install it",
        ),
        (("train", "x.toml", "--engine", "torn"), "engine 'torn' (plugin 'here_engine'"),
        (
            ("train", "x.toml", "--workers", "2"),
            "--workers: are the processes of an engine; name it: --engine ray",
        ),
        (("sweep", "x.toml", "--engine", "here", "--nproc", "2"), "--nproc beside --engine"),
        (("predict", "--engine", "here", "--text", "a boat"), "--engine is for many samples"),
        (
            ("data", "pack", "x.toml", "--manifest", "m", "--engine", "here", "--part", "1/2"),
            "--part beside --engine",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(words: tuple[str, ...], said: str) -> None:
    done = u2a_(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") <= 4


def test_engines_are_listed_and_checked() -> None:
    listed = {row["name"]: row for row in json.loads(u2a_("plugins", "list", "--json").stdout)}
    assert (listed["here"]["provides"], listed["here"]["status"]) == ("engine", "ok")
    assert listed["gone"]["status"] == "needs no_such_module_at_all: pip install it"
    assert listed["ray"]["distribution"] == "u2a"
    shelf = Registry().engines
    with pytest.raises(PluginError, match="engine 'x': load must be callable"):
        shelf.add(Owner("x", "x", "1"), u2a.EngineSpec("x", load="here"))  # type: ignore[arg-type]
