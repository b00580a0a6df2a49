"""A training does not go on with other data or another schedule than it began with."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden import ALONE, TRAINING, Case, settings, with_validation, write_recipe

from u2a.errors import U2AError
from u2a.recipe.file import load_recipe
from u2a.runs.folder import Run
from u2a.training.start import check_same
from u2a.training.trainer import Trainer


def trainer(folder: Path, case: Case, shards: dict[str, list[str]]) -> Trainer:
    recipe = load_recipe(write_recipe(folder, settings(case), shards))
    run = Run(folder / "run")
    if not run.exists:
        run.create(recipe)
    return Trainer(recipe, run, ALONE)


def test_other_data_or_another_schedule_is_refused(golden_data: dict[str, Path], tmp_path: Path) -> None:
    data = with_validation(golden_data["complete"])
    trainer(tmp_path, {}, data).fit()
    again = trainer(tmp_path, {}, data)
    again.resume()
    assert again.done == 3
    other = with_validation(golden_data["gaps"])
    shorter: Case = {"training": {**TRAINING, "epochs": 2}}
    changed = [
        ("the training data has changed", {}, {**data, "train": other["train"]}),
        ("the validation data has changed", {}, {**data, "val": other["val"]}),
        ("the schedule's length has changed", shorter, data),
    ]
    for message, case, shards in changed:
        with pytest.raises(U2AError, match=f"cannot resume: {message}"):
            trainer(tmp_path, case, shards).resume()


def test_another_order_of_modalities_is_refused_before_anything_is_read(
    golden_data: dict[str, Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, settings({}), with_validation(golden_data["complete"])))
    run = Run(tmp_path / "run")
    run.create(recipe)
    check_same(recipe, run)
    turned = recipe.model_copy(update={"modalities": dict(reversed(recipe.modalities.items()))})
    with pytest.raises(U2AError, match=f"in another order: {', '.join(recipe.modalities)}"):
        check_same(turned, run)
