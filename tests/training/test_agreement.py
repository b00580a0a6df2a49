"""Two machines that share no disk: the first process decides; what differs is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
import two_processes
from click.testing import CliRunner
from safetensors.torch import load_file

from u2a.cli.main import main
from u2a.common.distributed import World
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.trainer import Trainer

HERE = Path(__file__).parent
ALONE = World(0, 1, 0, 1, torch.device("cpu"))


def interrupted(recipe: Path, folder: Path, steps: int, *sets: str) -> None:
    """A run that was stopped after so many steps."""
    loaded = load_recipe(recipe, sets)
    made = Trainer(loaded, Run(folder), ALONE)
    made.run.create(loaded)
    batches = iter(made.data.loader(0, made.total))
    made.objective.train()
    for _ in range(steps):
        made.train_step([next(batches)])
    made.keeper.keep(steps, None, {})


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> list[Path]:
    """Two folders with the same data and encoders, each the disk of one machine."""
    root = tmp_path_factory.mktemp("machines")
    recipe = toys.make(root / "0", checkpoints, counts={"train": 24, "test": 8})
    shutil.copytree(root / "0", root / "1")
    for name in ("lacking", "stale"):
        interrupted(recipe, root / "0" / name, 2)
    interrupted(recipe, root / "1" / "stale", 5, "seed=7")
    shutil.copytree(root / "0" / "lacking", root / "0" / "taken")
    shutil.copytree(root / "1" / "stale", root / "1" / "taken")
    other = toys.make(root / "other", checkpoints, counts={"train": 16, "test": 8})
    shutil.copytree(other.parent / "shards", root / "1" / "other")
    for machine, n in (("0", 8), ("1", 12)):
        judged = toys.make(root / f"judged {n}", checkpoints, counts={"train": 24, "val": n})
        shutil.copytree(judged.parent / "shards", root / machine / "judged")
    for machine in ("0", "1"):
        shutil.copytree(root / machine / "shards", root / machine / "lost")
    (root / "1" / "lost" / "train-000000.tar").unlink()
    return [root / "0", root / "1"]


@pytest.fixture(scope="module")
def together(machines: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    def task(*words: str, second: tuple[str, ...] = ()) -> two_processes.Task:
        both = ["train", "toy.toml", *words]
        return "on_own_disk", ([str(folder) for folder in machines], [both, [*both, *second]])

    tasks = {
        "lacking": task("--run", "lacking", "--resume"),
        "stale": task("--run", "stale", "--resume"),
        "fresh": task("--run", "fresh"),
        "from taken": task("--run", "from taken", "--set", "training.start_from=/proc/self/cwd/taken"),
        "then loaded": ("train_and_load", (str(machines[0] / "toy.toml"), str(machines[0] / "loaded"))),
        "other recipe": task("--run", "refused", second=("--set", "training.lr=0.5")),
        "more in recipe": task("--run", "refused", second=("--set", "model.lora_alpha=4")),
        "other data": task("--run", "refused", second=("--set", "data.shards=other")),
        "other val": task("--run", "refused", "--set", "data.shards=judged"),
        "lost shard": task("--run", "refused", "--set", "data.shards=lost"),
        "out of step": ("out_of_step", (str(machines[0] / "toy.toml"), str(machines[0] / "apart"))),
    }
    return two_processes.run(tasks, tmp_path_factory.mktemp("job"), [HERE, HERE.parent])


@pytest.fixture(scope="module")
def alone(machines: list[Path]) -> dict[str, dict[str, torch.Tensor]]:
    """What one process makes of it without an interruption, from nothing and from the first one's run."""
    started = ["--set", f"training.start_from={machines[0] / 'taken'}"]
    found = {}
    for name, more in (("alone", []), ("alone from taken", started)):
        words = ["train", str(machines[0] / "toy.toml"), "--run", str(machines[0] / name), *more]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        found[name] = adapter(machines[0] / name)
    return found


def adapter(run: Path) -> dict[str, torch.Tensor]:
    """A run's learned tensors after its last step."""
    return load_file(run / "checkpoints" / "step-00000006" / "adapter.safetensors")


@pytest.mark.parametrize(
    ("name", "as_if"),
    [("lacking", "alone"), ("stale", "alone"), ("fresh", "alone"), ("from taken", "alone from taken")],
)
def test_the_second_machines_disk_decides_nothing(
    name: str,
    as_if: str,
    machines: list[Path],
    together: dict[str, list[Any]],
    alone: dict[str, dict[str, torch.Tensor]],
) -> None:
    assert [code for code, _ in together[name]] == [0, 0], together[name]
    found = adapter(machines[0] / name)
    assert found.keys() == alone[as_if].keys()
    for key, tensor in alone[as_if].items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("other recipe", "has another recipe value of training.lr than process 0"),
        ("more in recipe", "has another recipe value of model.lora_alpha than process 0"),
        ("other data", "has another set of training samples than process 0"),
        ("other val", "has another set of validation samples than process 0"),
        ("lost shard", "train-000000.tar"),
    ],
)
def test_what_differs_between_machines_is_refused_by_all_of_them(
    name: str, says: str, machines: list[Path], together: dict[str, list[Any]]
) -> None:
    for code, output in together[name]:
        assert code == 2, output
        assert says in output
    assert not (machines[0] / "refused").exists()


def test_none_loads_a_run_before_the_first_has_saved_it(
    machines: list[Path], together: dict[str, list[Any]]
) -> None:
    saved = adapter(machines[0] / "loaded")["head.bias"].tolist()
    assert together["then loaded"] == [saved, saved]


def test_processes_at_different_steps_do_not_train_on(together: dict[str, list[Any]]) -> None:
    assert together["out of step"] == [
        "the processes of this training stand at different steps (here: 0)",
        "the processes of this training stand at different steps (here: 1)",
    ]
