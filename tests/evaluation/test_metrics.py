"""Metrics: the shipped ones against plain references, and another plugin's from recipe to report."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
import torch
import toys
from click.testing import CliRunner
from distributions import install, visible
from pydantic import ValidationError
from tasks import make_task

import u2a
from u2a.cli.main import main
from u2a.contract.blame import Owner
from u2a.errors import PluginError, RecipeError
from u2a.evaluation.metrics import scores
from u2a.plugins.loading import forget, registry
from u2a.plugins.registry import Registry
from u2a.recipe.file import load_recipe
from u2a.recipe.json_schema import recipe_schema
from u2a.recipe.task import TaskSection
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import of_score
from u2a.runs.checkpoint import current

ERRORS = """
import u2a

def wrong(p_NC, target, n_classes):
    assert p_NC.shape == (len(target), n_classes)
    return (p_NC.argmax(1) != target).float().mean()

def broken(p_NC, target, n_classes):
    raise ValueError("no\\nidea")

def auroc(p_NC, target, n_classes):
    positive, negative = p_NC[target == 1, 1], p_NC[target == 0, 1]
    if not len(positive) or not len(negative):
        raise ValueError("only one class")
    return (positive[:, None] > negative).float().mean()

@u2a.hookimpl
def u2a_register_metrics(register):
    register(u2a.MetricSpec("error_rate", ("single_label",), wrong, higher_is_better=False, help="share wrong"))
    register(u2a.MetricSpec("broken", ("single_label",), broken))
    register(u2a.MetricSpec("auroc", ("single_label",), auroc))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A distribution with an error rate, and with a metric that raises."""
    site = tmp_path_factory.mktemp("site")
    install(site, "u2a-plugin-errors", {"errors": "plugin_errors"}, code=ERRORS)
    with visible(site):
        yield


def task(kind: str, metric: str | None = None, classes: str = "abcde") -> TaskSection:
    return make_task(kind, classes, metric)


def average_precision(p_N: np.ndarray, truth_N: np.ndarray) -> float:
    """Mean over the positives, by rank, of the share of positives among those before."""
    hits = truth_N[np.argsort(-p_N)]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_mean_average_precision_is_over_the_classes_that_occur_and_nobody_warns(kind: str) -> None:
    draw = torch.Generator().manual_seed(1)
    logits_NC = torch.randn(40, 5, generator=draw)
    target = torch.randint(0, 4, (40,), generator=draw)
    if kind == "multi_label":
        target = (torch.rand(40, 5, generator=draw) > 0.6).float()
        target[:, 4] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores(logits_NC, target, task(kind))["map"]
    p_NC = (logits_NC.softmax(1) if kind == "single_label" else logits_NC.sigmoid()).numpy()
    truth_NC = (target[:, None] == torch.arange(5)).numpy() if target.ndim == 1 else target.bool().numpy()
    wanted = np.mean([average_precision(p_NC[:, c], truth_NC[:, c]) for c in range(4)])
    assert found == pytest.approx(wanted, abs=1e-6)


def test_accuracy_and_f1_by_hand() -> None:
    logits_NC = torch.eye(3)[torch.tensor([0, 0, 1, 2, 2, 2])] * 9
    found = scores(logits_NC, torch.tensor([0, 1, 1, 2, 2, 0]), task("single_label", classes="abc"))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["f1_macro"] == pytest.approx((1 / 2 + 2 / 3 + 4 / 5) / 3)
    logits_NC = torch.eye(3)[torch.tensor([0, 0, 0, 0, 1, 1])] * 9  # classes of 4, 1 and 1 samples
    found = scores(logits_NC, torch.tensor([0, 0, 0, 0, 1, 2]), task("single_label", classes="abc"))
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    logits_NC = torch.eye(3)[torch.tensor([0, 0, 1])] * 9  # of c there is nothing: it does not count
    found = scores(logits_NC, torch.tensor([0, 1, 1]), task("single_label", classes="abc"))
    assert found["f1_macro"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    sure_NC, truth_NC = torch.tensor([[9.0, -9], [9, 9], [-9, 9]]), torch.tensor([[1.0, 1], [1, 0], [0, 1]])
    found = scores(sure_NC, truth_NC, task("multi_label", classes="ab"))
    assert found["f1_micro"] == pytest.approx(6 / 8)
    assert found["f1_macro"] == pytest.approx((1 + 1 / 2) / 2)


def test_a_probability_of_exactly_one_half_is_a_guess_as_in_predict() -> None:
    logits_NC, target = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    found = scores(logits_NC, target, task("multi_label", "f1_micro", classes="ab"))
    assert found["f1_micro"] == pytest.approx(2 / 3)
    shown = Predictions.of(logits_NC, target, task("multi_label", "f1_micro", classes="ab"))
    assert shown.score() == pytest.approx(2 / 3)


def test_the_headline_metric_comes_first_and_no_samples_give_nan() -> None:
    assert next(iter(scores(torch.zeros(2, 5), torch.tensor([0, 1]), task("single_label", "map")))) == "map"
    assert all(np.isnan(v) for v in scores(torch.zeros(0, 5), torch.zeros(0, 5), task("multi_label")).values())


def test_a_metric_that_does_not_exist_or_does_not_fit_is_refused(installed: None) -> None:
    with pytest.raises(
        ValidationError, match=r"did you mean 'f1_macro'\? \(installed: accuracy, auroc, broken"
    ):
        task("single_label", "f1_macr")
    with pytest.raises(
        ValidationError, match="does not fit kind = multi_label; these do: f1_macro, f1_micro, map"
    ):
        task("multi_label", "error_rate")


def test_a_metric_that_fails_is_nan_and_told_of_once_but_as_the_headline_an_error(
    installed: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("u2a.evaluation.metrics._told", set())  # other tests' scores told of it too
    given = torch.zeros(2, 5), torch.tensor([0, 1])
    for _ in range(2):
        found = scores(*given, task("single_label"))
    assert np.isnan(found["broken"])
    assert found["error_rate"] == 0.5
    said = "metric 'broken' (plugin 'errors' of u2a-plugin-errors 1.0) failed: ValueError: no idea"
    assert capsys.readouterr().err == f"{said}; it is NaN\n"
    with pytest.raises(PluginError, match=r"^metric 'broken' \(plugin 'errors' .* no idea$"):
        scores(*given, task("single_label", "broken"))


def test_the_schema_and_the_list_know_it(installed: None) -> None:
    definitions = recipe_schema(registry())["definitions"]
    assert "error_rate" in json.dumps(definitions["TaskSection"]["properties"]["metric"])
    assert "tensorboard" in json.dumps(definitions["TrainingSection"]["properties"]["loggers"])
    done = CliRunner().invoke(main, ["plugins", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(done.stdout) if row["provides"] == "metric"}
    assert {"accuracy", "f1_macro", "f1_micro", "map", "error_rate"} <= set(rows)
    row = rows["error_rate"]
    assert (row["modality"], row["distribution"], row["status"]) == (None, "u2a-plugin-errors", "ok")
    assert row["help"] == "share wrong (single_label)"


def test_pseudo_values_of_an_error_rate_are_those_of_the_accuracy_turned_round(installed: None) -> None:
    draw = torch.Generator().manual_seed(2)
    logits_NC, target = torch.randn(30, 5, generator=draw), torch.randint(0, 5, (30,), generator=draw)
    found, right = (
        of_score(Predictions.of(logits_NC, target, task("single_label", metric)))
        for metric in ("error_rate", "accuracy")
    )
    assert found.value_N == pytest.approx(1 - right.value_N, abs=1e-5)


def test_groups_of_many_samples_give_the_standard_error_of_single_ones(installed: None) -> None:
    draw = torch.Generator().manual_seed(0)
    logits_NC, target = torch.randn(1000, 5, generator=draw), torch.randint(0, 5, (1000,), generator=draw)
    found = of_score(Predictions.of(logits_NC, target, task("single_label", "error_rate")))
    error = np.sqrt(found.score * (1 - found.score) / 1000)
    assert found.value_N.mean() == pytest.approx(found.score, abs=1e-5)
    assert found.value_N.std() / np.sqrt(1000) == pytest.approx(error, rel=0.2)


def test_left_out_samples_without_which_there_is_no_score_are_counted(installed: None) -> None:
    p_NC, target = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]), torch.tensor([0, 0, 1])
    auroc = task("single_label", "auroc", classes="ab")
    predictions = Predictions.of(p_NC.log(), target, auroc)
    found = of_score(predictions)
    assert (found.score, found.undefined) == (1.0, 1)
    assert np.isfinite(found.value_N).all()
    with pytest.raises(PluginError, match="only one class"):
        Predictions.of(p_NC[:2].log(), target[:2], auroc).score()


def u2a_json(*command: str) -> Any:
    done = CliRunner().invoke(main, [*command, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_another_plugins_metric_from_recipe_to_report(
    installed: None, tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 16, "val": 8, "test": 12})
    sets = ["--set", "task.metric=error_rate", "--set", "training.epochs=4"]
    runs = [str(tmp_path / name) for name in ("one", "two")]
    for seed, run in enumerate(runs):
        done = CliRunner().invoke(main, ["train", str(recipe), "--run", run, *sets, "--set", f"seed={seed}"])
        assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (tmp_path / "one/metrics.jsonl").read_text().splitlines()]
    errors = {line["step"]: line["error_rate"] for line in lines if line["type"] == "validation"}
    best = json.loads((current(tmp_path / "one/checkpoints", "BEST") / "adapter.json").read_text())
    assert best["step"] == min(errors, key=lambda step: (errors[step], -step))  # of equals, the later one
    assert best["best"] == min(errors.values()) < max(errors.values())
    scored = u2a_json("eval", runs[0], "--drop", "text")
    assert next(iter(scored["scores"])) == "error_rate"
    assert scored["scores"]["error_rate"] == pytest.approx(1 - scored["scores"]["accuracy"])
    compared = u2a_json("compare", *runs)
    assert compared["metric"] == "error_rate"
    first, second = compared["runs"]
    assert (second["better"] > 0.5) is (second["score"] < first["score"])
    done = CliRunner().invoke(main, ["report", runs[0], "--out", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["metric"]["label"] == "error_rate"
    worst = max(report["patterns"], key=lambda row: row["scores"]["error_rate"])
    assert report["headline"]["worst"]["missing"] == worst["missing"]
    assert report["headline"]["drop_points"] == pytest.approx(100 * worst["difference"])
    assert worst["interval"][0] <= worst["scores"]["error_rate"] <= worst["interval"][1]
    assert worst["bound"] > worst["scores"]["error_rate"]  # the side on which it would be worse
    assert "Rise" in (tmp_path / "report/report.html").read_text()


def test_a_run_whose_metric_is_gone_names_the_package(
    tmp_path: Path, checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    install(site, "u2a-plugin-gone", {"gone": "plugin_gone"}, code=ERRORS.replace("error_rate", "gone_rate"))
    recipe = toys.make(tmp_path / "toy", checkpoints, counts={"train": 8, "test": 8})
    command = ["train", str(recipe), "--run", str(tmp_path / "run"), "--set", "task.metric=gone_rate"]
    with monkeypatch.context() as patch:
        patch.syspath_prepend(site)
        forget()
        assert CliRunner().invoke(main, command).exit_code == 0
    forget()
    done = CliRunner().invoke(main, ["eval", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "task.metric: no installed plugin brings the metric 'gone_rate'" in done.stderr
    assert "pip install u2a-plugin-gone==1.0" in done.stderr


def test_a_recipe_names_the_key(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 8})
    with pytest.raises(RecipeError, match=r"toy\.toml: task\.metric: no installed plugin .* 'accuracy'"):
        load_recipe(recipe, ["task.metric=acuracy"])


def test_what_is_no_sound_metric_is_refused() -> None:
    good = u2a.MetricSpec("good", ("single_label",), lambda p_NC, target, n_classes: 1.0)
    for changed, reason in (
        ({"name": "accuracy"}, "already registered by plugin 'metrics' of u2a"),
        ({"api": 3}, "made for contract version 3; this u2a runs versions 1 and 2"),
        ({"compute": None}, "compute must be callable"),
        ({"task_kinds": ("regression",)}, "task_kinds must be a tuple of 'single_label' and 'multi_label'"),
        ({"task_kinds": ()}, "task_kinds must be a tuple"),
        ({"name": "F 1"}, "not made of lower-case letters"),
        ({"form": "f1"}, "form must be None or one of hits, class_f1, class_precision, pooled_f1"),
        ({"headline_of": ("multi_label",)}, "headline_of must be a tuple of its own task_kinds"),
        ({"selects_for": "single_label"}, "selects_for must be a tuple of its own task_kinds"),
        ({"label": None}, "label must be text"),
    ):
        found = Registry()
        found.metrics = replace(found.metrics, brought=dict(registry().metrics.brought))
        with pytest.raises(PluginError, match=reason):
            found.metrics.add(Owner("x", "x-dist", "1"), replace(good, **changed))  # type: ignore[arg-type]


def test_a_plugins_metric_may_head_a_task_and_pick_its_checkpoints() -> None:
    found = Registry()
    one: tuple[Literal["single_label"]] = ("single_label",)
    spec = u2a.MetricSpec("mine", one, lambda p_NC, target, n_classes: 1.0, selects_for=one)
    found.metrics.add(Owner("x", "x-dist", "1"), replace(spec, name="other", selects_for=(), headline_of=one))
    found.metrics.add(Owner("x", "x-dist", "1"), spec)
    task = make_task(plugins=found)
    assert (task.headline, task.selection_metric) == ("other", "mine")
    named = make_task(metric="mine", plugins=found)
    assert (named.headline, named.selection_metric) == ("mine", "mine")
    multi = make_task("multi_label")
    assert (multi.headline, multi.selection_metric) == ("f1_macro", "map")


@pytest.mark.parametrize("value", [1.01, -0.01, 1.5])
def test_a_headline_that_leaves_0_to_1_is_refused(value: float) -> None:
    found = Registry()
    spec = u2a.MetricSpec("mine", ("single_label",), lambda p_NC, target, n_classes: value)
    found.metrics.add(Owner("x", "x-dist", "1"), spec)
    with pytest.raises(PluginError, match=rf"gave {value:g}; a metric is a number in 0\.\.1"):
        scores(torch.eye(3), torch.arange(3), make_task(metric="mine", plugins=found))


def test_a_metric_measures_copies() -> None:
    def spoils(p_NC: torch.Tensor, target: torch.Tensor, n_classes: int) -> float:
        p_NC.zero_()
        target.fill_(2)
        return 0.5

    found = Registry()
    found.metrics.add(Owner("x", "x-dist", "1"), u2a.MetricSpec("mine", ("single_label",), spoils))
    logits_NC, target = torch.eye(3), torch.arange(3)
    scores(logits_NC, target, make_task(metric="mine", plugins=found))
    assert torch.equal(logits_NC, torch.eye(3))
    assert target.tolist() == [0, 1, 2]


def test_the_block_in_the_docs_works_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/plugins.md").read_text()
    block = text.split("```python balanced.py\n")[1].split("```")[0]
    module = ModuleType("balanced")
    exec(block, vars(module))
    found = Registry()
    found.add(Owner("balanced", "x-dist", "1"), module)
    assert not found.failures
    p_NC, target = torch.eye(3)[torch.tensor([0, 0, 1, 2])], torch.tensor([0, 1, 1, 2])
    value = found.metrics.specs["balanced_accuracy"].compute(p_NC, target, 3)
    assert float(value) == pytest.approx((1 + 1 / 2 + 1) / 3)
    logger = found.loggers.specs["printer"].open(Path(), {}, 0)
    logger.log({"loss": 1.0}, 1, "train")
    logger.log({"accuracy": 1.0}, 1, "validation")
    logger.close(False)
    assert capsys.readouterr().out == "1 {'accuracy': 1.0}\ndone\n"
