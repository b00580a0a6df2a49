"""A report of several seeds: every section is the mean over them, and its intervals count them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import four
import numpy as np
import pytest
import torch
from scipy import stats
from tasks import make_task

from u2a.report.build import build_report
from u2a.report.values.calibration import calibration
from u2a.report.values.class_intervals import class_intervals
from u2a.report.values.contributions import Coalition, contributions, of_run
from u2a.report.values.predictions import Predictions


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> list[dict[str, Any]]:
    """Of two seeds together and of each, and a run of another recipe that must not count."""
    folder = tmp_path_factory.mktemp("seeds")
    recipe = four.make(folder, checkpoints, gaps=True)
    runs = [str(four.train(recipe, folder / f"seed-{s}", f"seed={s}", "training.epochs=2")) for s in (0, 1)]
    other = str(four.train(recipe, folder / "other", "training.epochs=1", "model.lora_rank=1"))
    return [build_report([runs[0], other, runs[1]]), build_report(runs[:1]), build_report(runs[1:])]


def mean(a: Any, b: Any) -> Any:
    """Of two reports' parts: numbers are averaged, everything else must be equal."""
    if isinstance(a, dict):
        return {key: mean(a[key], b[key]) for key in a if key in b}
    if isinstance(a, list):
        return [mean(x, y) for x, y in zip(a, b, strict=True)]
    if isinstance(a, float):
        return (a + b) / 2
    assert a == b
    return a


def plain(part: Any) -> Any:
    """Without intervals, single seeds, and bins, which are no means."""
    left_out = ("interval", "change_interval", "bins", "by_seed", "ece_by_seed")
    left_out += ("mse_by_seed", "complete_by_seed", "ece_calibrated", "ece_limit")
    if isinstance(part, dict):
        return {key: plain(value) for key, value in part.items() if key not in left_out}
    return [plain(value) for value in part] if isinstance(part, list) else part


def flat(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part) + [x for value in part.values() for x in flat(value)]
    return [x for value in part for x in flat(value)] if isinstance(part, list) else [part]


@pytest.mark.parametrize("section", ["classes", "tokens", "contributions", "calibration"])
def test_every_figure_of_a_section_is_the_mean_over_the_seeds(reports: list[dict[str, Any]], section: str):
    together, first, second = (plain(report[section]) for report in reports)
    assert first != second
    for found, wanted in zip(flat(together), flat(mean(first, second)), strict=True):
        assert found == (pytest.approx(wanted, abs=1e-9) if isinstance(wanted, float) else wanted)


def test_what_each_seed_says_is_kept_beside_the_means(reports: list[dict[str, Any]]):
    together, *each = reports
    for m, row in together["contributions"]["values"].items():
        assert row["by_seed"] == pytest.approx([one["contributions"]["values"][m]["value"] for one in each])
    for k, row in enumerate(together["classes"]):
        assert row["complete_by_seed"] == pytest.approx([one["classes"][k]["complete"] for one in each])
    for k, row in enumerate(together["calibration"]):
        assert row["ece_by_seed"] == pytest.approx([one["calibration"][k]["ece"] for one in each])
        for edge in (b["confidence"] for b in row["bins"]):
            assert 0 <= edge <= 1
        total = sum(b["count"] for one in each for b in one["calibration"][k]["bins"])
        assert sum(b["count"] for b in row["bins"]) == total


def students(values: list[float]) -> list[float]:
    return list(stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values)))


def test_contributions_of_samples_without_noise_have_students_interval_over_the_seeds():
    levels = ([0.1, 0.5, 0.6, 0.90], [0.1, 0.6, 0.6, 0.97], [0.1, 0.4, 0.5, 0.91])

    def game(v: list[float]) -> Any:
        return lambda S: Coalition(np.array(v[S]), np.array([v[S]]), np.full(50_000, v[S]))

    found = contributions([of_run(game(v), 2) for v in levels], ("a", "b"), ("only",))
    of_a = [(v[1] - v[0] + v[3] - v[2]) / 2 for v in levels]
    assert found["values"]["a"]["value"] == pytest.approx(np.mean(of_a))
    assert found["values"]["a"]["interval"] == pytest.approx(students(of_a), abs=2e-3)
    pair = [v[3] - v[1] - v[2] + v[0] for v in levels]
    assert found["pairs"][0]["interval"] == pytest.approx(students(pair), abs=2e-3)
    assert found["classes"]["only"]["b"] == pytest.approx(found["values"]["b"]["value"])


def test_proper_scores_of_samples_without_noise_have_students_interval_over_the_seeds():
    task = make_task(classes=("x", "y"))
    chances = (0.81, 0.7, 0.82)
    runs = [
        Predictions.of(torch.tensor([[p, 1 - p]]).log().expand(30, 2), torch.zeros(30, dtype=torch.long), task)
        for p in chances
    ]
    found = calibration(runs)
    assert found["brier"]["interval"] == pytest.approx(students([2 * (1 - p) ** 2 for p in chances]), abs=1e-5)
    assert found["nll"]["interval"] == pytest.approx(students([-np.log(p) for p in chances]), abs=1e-5)
    assert [b["count"] for b in found["bins"]] == [30, 60]  # 0.7 in one bin, 0.81 and 0.82 in the next


def test_a_seed_again_changes_no_classes_interval_and_another_one_widens_it():
    task, draw = make_task(classes=("x", "y", "z")), torch.Generator().manual_seed(0)
    target = torch.randint(3, (240,), generator=draw)

    def guessing(right: float) -> Predictions:
        wrong_N = torch.rand(240, generator=draw) > right
        guess_N = torch.where(wrong_N, (target + 1) % 3, target)
        return Predictions.of(torch.eye(3)[guess_N] * 4, target, task)

    everyone = torch.ones(240, dtype=torch.bool)
    complete, good, bad = guessing(0.9), guessing(0.9), guessing(0.5)
    (alone,) = class_intervals([complete], [{"a": (good, everyone)}]).values()
    (again,) = class_intervals([complete] * 2, [{"a": (good, everyone)}] * 2).values()
    (apart,) = class_intervals([complete] * 2, [{"a": (good, everyone)}, {"a": (bad, everyone)}]).values()
    assert np.array(again) == pytest.approx(np.array(alone))
    (worse,) = class_intervals([complete], [{"a": (bad, everyone)}]).values()
    assert all(low < high < 0 for low, high in worse)  # what is lost is less than nothing
    assert (np.ptp(apart, 1) > 2 * np.ptp(alone, 1)).all()
