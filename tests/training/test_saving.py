"""When the clock saves in the middle of an epoch, and what that leaves alone."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from golden import ALONE, CLASSES, TRAINING, Case, settings, with_validation, write_recipe

from u2a.recipe.file import load_recipe
from u2a.runs import checkpoint
from u2a.runs.folder import Run
from u2a.training import timed
from u2a.training.timed import SaveClock
from u2a.training.trainer import Trainer


def test_the_clock_is_due_after_its_minutes_and_anew_after_each_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(timed.time, "monotonic", lambda: now[0])
    clock, never = SaveClock(1.5), SaveClock(0)
    due = []
    for seconds in (0, 89, 1, 30):
        now[0] += seconds
        due.append((clock.due, never.due))
    clock.reset()
    assert due == [(False, False), (False, False), (True, False), (True, False)]
    assert not clock.due
    now[0] += 90
    assert clock.due
    often = SaveClock(0.01)  # less than a second
    now[0] += 0.7
    assert often.due


def test_a_long_epoch_is_saved_every_few_minutes_and_the_best_stays(
    golden_data: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    now = [0.0]
    monkeypatch.setattr(timed.time, "monotonic", lambda: now[0])
    case: Case = {"training": {**TRAINING, "batch_size": 1, "epochs": 2, "warmup_epochs": 0}}
    file = write_recipe(tmp_path, settings(case), with_validation(golden_data["complete"]))
    recipe = load_recipe(file, ["training.save_minutes=3", "task.select_by=metric"])
    made = Trainer(recipe, Run(tmp_path / "run"), ALONE)
    request.addfinalizer(partial(os.umask, os.umask(0o027)))  # the group may read it, all of it
    made.run.create(recipe)
    step, saved, told = made.train_step, [], []

    def slow(batches: Any) -> dict[str, float]:
        pointers = [(made.run.checkpoints / name).exists() for name in ("LAST", "BEST")]
        saved.append((made.keeper.saved, *pointers))
        if made.keeper.saved == 3:
            told.append(checkpoint.verify(checkpoint.current(made.run.checkpoints, "LAST")))
        now[0] += 60
        return step(batches)

    monkeypatch.setattr(made, "train_step", slow)
    made.fit()
    epoch = [3, 3, 3, 6, 6, 6, 9]
    after = [10, *(10 + step for step in epoch)]  # an epoch's end was saved as well
    assert [s[0] for s in saved] == [-1, -1, -1, *epoch, 10, 10, *after]
    assert [s[1:] for s in saved] == [(False, False)] * 3 + [(True, False)] * 7 + [(True, True)] * 10
    assert made.done == 20
    for name, step_of in (("LAST", 20), ("BEST", 10)):
        assert (made.run.checkpoints / name).read_text().strip() == f"step-{step_of:08d}"
    last = checkpoint.verify(checkpoint.current(made.run.checkpoints, "LAST"))
    files = [path for path in made.run.folder.rglob("*") if path.is_file()]
    assert len(files) >= 8
    assert {path.name: path.stat().st_mode & 0o777 for path in files} == {path.name: 0o640 for path in files}
    assert [meta["step"] for meta in (*told, last)] == [3, 3, 3, 20]
    for meta in told:  # nothing was validated there
        assert (meta["validation"], meta["selected"], meta["calibration"], meta["best"]) == (
            {},
            None,
            None,
            None,
        )
    best = checkpoint.verify(checkpoint.current(made.run.checkpoints, "BEST"))
    assert last["selected"] == last["validation"]["accuracy"] < last["best"] == best["selected"]
    assert set(last["calibration"]["patterns"]) == {"a+b", "a", "b", "2 of 2", "1 of 2", "any"}
    assert last["classes"] == list(CLASSES)
    assert set(last["modalities"]) == {"a", "b"}
