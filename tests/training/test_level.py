"""A validation loss that chance alone may have made higher than the lowest: the later one is the best."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import ttest_rel

from u2a.common.distributed import World
from u2a.common.files import sha256_file
from u2a.data.packing.pack import pack_manifest
from u2a.evaluation.calibration import Calibration
from u2a.evaluation.validation import Validation
from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training.data import by_group
from u2a.training.trainer import Trainer

ALONE = World(0, 1, 0, 1, torch.device("cpu"))
N = 50
DRAW = np.random.default_rng(7)
#: Losses of samples as different as they are, and what differs from one checkpoint to the next.
LOSSES_N, CHANGE_N = DRAW.exponential(1.0, N), DRAW.normal(0.0, 0.1, N)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    counts = {"train": 20, "val": 8, "test": 8}
    return toys.make(tmp_path_factory.mktemp("toy"), checkpoints, counts=counts)


def begun(toy: Path, folder: Path, *sets: str) -> Trainer:
    recipe = load_recipe(toy, ("task.select_by=loss", *sets))
    made = Trainer(recipe, Run(folder), ALONE)
    made.run.create(recipe)
    return made


def higher_by(errors: float, than_N: np.ndarray = LOSSES_N) -> np.ndarray:
    """Losses that are higher in the mean by so many standard errors of the paired difference."""
    change_N = CHANGE_N - CHANGE_N.mean()
    later_N = than_N + change_N + errors * change_N.std(ddof=1) / N**0.5
    assert ttest_rel(later_N, than_N).statistic == pytest.approx(errors)
    return later_N


def judged(losses_N: np.ndarray) -> Validation:
    parts_N = torch.from_numpy(losses_N / N)
    return Validation({"map": 0.5}, float(parts_N.sum()), Calibration("multi_label"), parts_N)


def best_after(made: Trainer, step: int, losses_N: np.ndarray) -> int:
    made.keeper.keep(step, judged(losses_N), {})
    return checkpoint.verify(checkpoint.current(made.run.checkpoints, "BEST"))["step"]


LEVEL, WORSE = higher_by(1.9), higher_by(2.1)
LOW = LOSSES_N + 1  # as the head start's: all later ones are below it


@pytest.mark.parametrize(
    ("each", "best"),
    [
        ([LOW, LOSSES_N, LEVEL], [0, 1, 2]),
        ([LOW, LOSSES_N, WORSE], [0, 1, 1]),
        ([LOW, LOSSES_N, LOSSES_N + 0.01], [0, 1, 1]),  # by little, but in every sample
        ([LOW, LOSSES_N, higher_by(1.5), higher_by(3.0)], [0, 1, 2, 2]),  # none is compared with the last
        ([LOW, LOSSES_N, WORSE, LEVEL], [0, 1, 1, 3]),
        ([LOW, LOSSES_N, LEVEL, LOSSES_N - 0.1, LEVEL], [0, 1, 2, 3, 3]),  # the lowest has moved on
        ([LOSSES_N, LEVEL], [0, 0]),  # the head start is not given up for what is above it
        ([LOSSES_N + 0.001, LOSSES_N, LEVEL], [0, 1, 1]),
    ],
)
def test_the_later_of_two_is_the_best_unless_chance_alone_cannot_make_it_worse(
    each: list[np.ndarray], best: list[int], toy: Path, tmp_path: Path
) -> None:
    made = begun(toy, tmp_path / "run")
    assert [best_after(made, step, losses_N) for step, losses_N in enumerate(each)] == best


def test_patience_counts_from_the_lowest(toy: Path, tmp_path: Path) -> None:
    made = begun(toy, tmp_path / "run")
    for step, losses_N in enumerate([LOW, LOSSES_N, LEVEL, LEVEL]):
        best_after(made, step, losses_N)
    assert made.keeper.stale == 2
    assert made.keeper.best == pytest.approx(LOSSES_N.mean())


@pytest.mark.parametrize(("first", "later", "best"), [(LOW, LEVEL, 9), (LOW, WORSE, 3), (LOSSES_N, LEVEL, 3)])
def test_a_resumed_training_compares_with_the_lowest_too(
    first: np.ndarray, later: np.ndarray, best: int, toy: Path, tmp_path: Path
) -> None:
    made = begun(toy, tmp_path / "run")
    for step, losses_N in ((0, first), (3, LOSSES_N), (6, WORSE)):
        best_after(made, step, losses_N)
    again = Trainer(made.recipe, made.run, ALONE)
    again.resume()
    assert best_after(again, 9, later) == best


def test_a_checkpoint_of_an_older_version_goes_on_by_the_lowest_alone(toy: Path, tmp_path: Path) -> None:
    made = begun(toy, tmp_path / "run")
    for step, losses_N in ((0, LOW), (3, LOSSES_N), (6, WORSE)):
        best_after(made, step, losses_N)
    last = checkpoint.current(made.run.checkpoints, "LAST")
    (last / "training.safetensors").unlink()
    meta = json.loads((last / "adapter.json").read_text())
    del meta["at_start"]
    (last / "adapter.json").write_text(json.dumps(meta))
    manifest = json.loads((last / "manifest.json").read_text())
    del manifest["files"]["training.safetensors"]
    manifest["files"]["adapter.json"] = sha256_file(last / "adapter.json")
    (last / "manifest.json").write_text(json.dumps(manifest))
    again = Trainer(made.recipe, made.run, ALONE)
    again.resume()
    assert best_after(again, 9, LEVEL) == 3
    assert best_after(again, 12, LOSSES_N - 0.001) == 12
    assert best_after(again, 15, higher_by(1.5)) == 12  # above what may have been the head start's


@pytest.mark.parametrize("select_on", ["mean", "worst", "complete"])
def test_what_the_samples_add_to_a_loss_is_in_the_checkpoint(select_on: str, toy: Path, tmp_path: Path) -> None:
    made = begun(toy, tmp_path / "run", f"task.select_on={select_on}", "training.epochs=2")
    made.fit()
    last = checkpoint.current(made.run.checkpoints, "LAST")
    best_N = load_file(last / "training.safetensors")["best_N"]
    assert best_N.shape == (8,)
    assert bool((best_N > 0).all())
    assert float(best_N.sum()) == pytest.approx(checkpoint.verify(last)["best"])


def test_samples_of_one_group_or_file_count_as_one(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """The first three validation samples are one person's, the last two show one picture."""
    recipe = toys.make(tmp_path / "toy", checkpoints, counts={"train": 20, "val": 8, "test": 8})
    folder = recipe.parent
    shutil.copy(folder / "val-6.png", folder / "val-7.png")
    Image.open(folder / "val-6.png").save(folder / "another-file.png", compress_level=0)
    found = {}
    for name, changes in {
        "apart": {"val-7": {"image": "another-file.png"}},
        "together": {f"val-{i}": {"group": "one person"} for i in range(3)},
    }.items():
        rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
        lines = [json.dumps(row | changes.get(row["key"], {})) + "\n" for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines))
        pack_manifest(load_recipe(recipe), folder / f"{name}.jsonl", folder / name)
        made = begun(recipe, tmp_path / name, f"data.shards={folder / name}", "training.epochs=0")
        made.fit()
        last = checkpoint.current(made.run.checkpoints, "LAST")
        found[name] = load_file(last / "training.safetensors")["best_N"]
    each_N = found["apart"]
    assert each_N.shape == (8,)
    from_mean_N = each_N - each_N.mean()
    together_G = torch.stack([from_mean_N[:3].sum(), *from_mean_N[3:6], from_mean_N[6:].sum()])
    torch.testing.assert_close(found["together"], together_G + each_N.sum() / 5)


#: Two samples in three show one placeholder.
UNEVEN_N = np.array([0] * 34 + list(range(1, N - 33)))


@pytest.mark.parametrize(("more", "best"), [(0.02, 2), (0.3, 1)])
def test_what_all_samples_share_is_no_chance_however_uneven_their_groups(
    more: float, best: int, toy: Path, tmp_path: Path
) -> None:
    """Groups err by as much as .1 together; what is added is the same in every sample."""
    common_N = np.random.default_rng(3).normal(0.0, 0.1, UNEVEN_N.max() + 1)[UNEVEN_N]
    later_N = LOSSES_N + common_N - common_N.mean() + more
    made = begun(toy, tmp_path / "run")
    for step, losses_N in enumerate((LOW, LOSSES_N, later_N)):
        validation = judged(losses_N)
        assert validation.losses_N is not None
        by_groups = by_group(UNEVEN_N, validation.losses_N)
        assert float(by_groups.sum()) == pytest.approx(losses_N.mean())
        made.keeper.keep(step, replace(validation, losses_N=by_groups), {})
    assert checkpoint.verify(checkpoint.current(made.run.checkpoints, "BEST"))["step"] == best


@pytest.mark.filterwarnings("error")
def test_one_group_alone_tells_nothing_of_chance(toy: Path, tmp_path: Path) -> None:
    made = begun(toy, tmp_path / "run")
    each = [judged(losses_N[:1]) for losses_N in (LOW, LOSSES_N, LOSSES_N + 0.1)]
    for step, validation in enumerate(each):
        made.keeper.keep(step, validation, {})
    assert checkpoint.verify(checkpoint.current(made.run.checkpoints, "BEST"))["step"] == 1


def test_losses_of_other_samples_are_not_compared(toy: Path, tmp_path: Path) -> None:
    made = begun(toy, tmp_path / "run")
    best_after(made, 0, LOW)
    best_after(made, 1, LOSSES_N)
    assert best_after(made, 2, LEVEL[: N // 2] * 2 + 0.01) == 1
