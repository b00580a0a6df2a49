"""The report's numbers against independent references: torchmetrics, plain loops, other commands."""

from __future__ import annotations

import csv
import itertools
import json
import math
from decimal import Decimal
from pathlib import Path

import four
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from tasks import make_task
from torchmetrics.functional.classification import multiclass_calibration_error

from u2a.evaluation import trained as api
from u2a.evaluation.encoding import Encoded
from u2a.evaluation.metrics import scores
from u2a.evaluation.scenarios import keep_mask
from u2a.evaluation.scoring import classify
from u2a.recipe.task import TaskSection
from u2a.report.build import bare_split, build_report
from u2a.report.values.calibration import calibration
from u2a.report.values.contributions import Coalition, contributions, of_run
from u2a.report.values.predictions import Predictions
from u2a.report.values.tokens import token_quality
from u2a.report.write import write_report

N, C = 60, 5


def task(kind: str, metric: str) -> TaskSection:
    return make_task(kind=kind, classes=tuple("abcde"), metric=metric)


def drawn(kind: str, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with ties, and targets in which the last class never occurs."""
    draw = torch.Generator().manual_seed(seed)
    logits_NC = (torch.randn(N, C, generator=draw) * 2).round() / 2
    if kind == "single_label":
        return logits_NC, torch.randint(C - 1, (N,), generator=draw)
    target = (torch.rand(N, C, generator=draw) < 0.3).float()
    target[:, -1] = 0
    return logits_NC, target


CASES = [
    ("single_label", "accuracy"),
    ("single_label", "f1_macro"),
    ("single_label", "map"),
    ("multi_label", "f1_macro"),
    ("multi_label", "f1_micro"),
    ("multi_label", "map"),
]

# --- scores and intervals ---


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_score_equals_the_evaluation_metric(kind: str, metric: str):
    logits_NC, target = drawn(kind)
    ours = Predictions.of(logits_NC, target, task(kind, metric))
    assert ours.score() == pytest.approx(scores(logits_NC, target, task(kind, metric))[metric], abs=1e-6)


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_without_samples_there_is_no_score(kind: str, metric: str):
    predictions = Predictions.of(*drawn(kind), task(kind, metric))
    assert np.isnan(predictions.at(torch.zeros(N, dtype=torch.bool)).score())


@pytest.mark.parametrize("metric", ["f1_macro", "f1_micro"])
def test_without_a_label_and_without_a_guess_f1_is_that_of_the_evaluation(metric: str):
    given = torch.full((4, C), -3.0), torch.zeros(4, C), task("multi_label", metric)
    assert Predictions.of(*given).score() == pytest.approx(scores(*given)[metric], nan_ok=True)


@pytest.mark.parametrize("metric", ["f1_macro", "map"])
def test_macro_averages_are_over_the_classes_that_occur_in_both_kinds_of_task(metric: str):
    """The last class never occurs, yet is guessed: the mean of the others' own values."""
    for kind in ("single_label", "multi_label"):
        logits_NC, target = drawn(kind)
        found = Predictions.of(logits_NC, target, task(kind, metric))
        assert found.guess_NC[:, -1].any()
        assert not found.truth_NC[:, -1].any()
        truth, guess = found.truth_NC.numpy(), found.guess_NC.numpy()
        each = [
            average_precision_score(truth[:, c], found.probability_NC[:, c])
            if metric == "map"
            else f1_score(truth[:, c], guess[:, c])
            for c in range(C - 1)
        ]
        assert scores(logits_NC, target, task(kind, metric))[metric] == pytest.approx(np.mean(each), abs=1e-6)


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_class_scores_are_those_of_each_class_alone(kind: str, metric: str):
    logits_NC, target = drawn(kind)
    predictions = Predictions.of(logits_NC, target, task(kind, metric))
    found = predictions.class_scores()
    assert torch.isnan(found[-1])
    guess, truth = predictions.guess_NC.numpy(), predictions.truth_NC.numpy()
    for c in range(C - 1):
        hits = int((guess[:, c] & truth[:, c]).sum())
        expected = {
            "accuracy": hits / truth[:, c].sum(),
            "map": _average_precision(predictions.probability_NC[:, c].tolist(), truth[:, c].tolist()),
        }.get(metric, 2 * hits / (guess[:, c].sum() + truth[:, c].sum()))
        assert float(found[c]) == pytest.approx(expected, abs=1e-6)


def _average_precision(p: list[float], truth: list[bool]) -> float:
    total, recall = 0.0, 0.0
    for threshold in sorted(set(p), reverse=True):
        chosen = [t for q, t in zip(p, truth, strict=True) if q >= threshold]
        now = sum(chosen) / sum(truth)
        total, recall = total + (now - recall) * sum(chosen) / len(chosen), now
    return total


# --- calibration ---


def test_calibration_error_equals_torchmetrics():
    logits_NC, target = drawn("single_label")
    found = calibration([Predictions.of(logits_NC, target, task("single_label", "accuracy"))])
    reference = multiclass_calibration_error(logits_NC.softmax(1), target, C, n_bins=15)
    assert found["ece"] == pytest.approx(float(reference), abs=1e-6)
    assert sum(b["count"] for b in found["bins"]) == N


def test_calibration_of_labels_is_that_of_every_sample_and_class():
    logits_NC = torch.tensor([[0.8, -0.8], [0.8, -0.8]])
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    two = make_task(kind="multi_label", classes=("a", "b"))
    found = calibration([Predictions.of(logits_NC, target, two)])
    p = 1 / (1 + np.exp(-0.8))
    assert [b["count"] for b in found["bins"]] == [2, 2]
    assert found["ece"] == pytest.approx(((1 - p) + (p - 0.5)) / 2, abs=1e-6)


# --- mask tokens ---


def test_token_quality_equals_plain_loops_over_pairs_that_are_both_present():
    draw = torch.Generator().manual_seed(0)
    cls_NMD, mask_NMMD = torch.randn(16, 3, 4, generator=draw), torch.randn(16, 3, 3, 4, generator=draw)
    present_NM = torch.rand(16, 3, generator=draw) < 0.7
    label_N = torch.arange(16) % 2
    truth_NC = label_N[:, None] == torch.arange(3)
    encoded = Encoded(cls_NMD, mask_NMMD, present_NM, label_N, torch.arange(16), tuple(map(str, range(16))))
    rows = token_quality(encoded, truth_NC, ("x", "y", "z"))
    assert [(row["source"], row["target"]) for row in rows][:3] == [("x", "y"), ("x", "z"), ("y", "x")]
    row = rows[3]  # y -> z
    both = [n for n in range(16) if present_NM[n, 1] and present_NM[n, 2]]
    errors = {n: float(((mask_NMMD[n, 1, 2] - cls_NMD[n, 2]) ** 2).mean()) for n in both}
    assert (row["n"], row["mse"]) == (len(both), pytest.approx(np.mean(list(errors.values())), rel=1e-5))
    constant = torch.stack([cls_NMD[n, 2] for n in both]).var(0, unbiased=False).mean()
    assert row["error"] == pytest.approx(row["mse"] / float(constant), rel=1e-5)  # 1 = the mean class token
    for c in range(2):
        expected = np.mean([error for n, error in errors.items() if label_N[n] == c])
        assert row["class_mse"][c] == pytest.approx(expected, rel=1e-5)
    assert row["class_mse"][2] is None
    cosines = [float(torch.cosine_similarity(mask_NMMD[n, 1, 2], cls_NMD[n, 2], dim=0)) for n in both]
    assert row["cosine"] == pytest.approx(np.mean(cosines), rel=1e-5)


# --- contributions ---


def test_beyond_six_modalities_contributions_still_add_up():
    v = np.random.default_rng(0).random((2**7, 1 + 2 + 10))

    def coalition(S: int) -> Coalition:
        return Coalition(v[S, 0], v[S, 1:3], v[S, 3:])

    found = contributions([of_run(coalition, 7)], tuple("abcdefg"), ("yes", "no"))
    assert (found["exact"], found["pairs"]) == (False, [])
    assert sum(row["value"] for row in found["values"].values()) == pytest.approx(v[-1, 0] - v[0, 0])
    assert sum(found["classes"]["no"].values()) == pytest.approx(v[-1, 2] - v[0, 2])


# --- whole reports ---


@pytest.fixture(scope="module", params=["single", "multi"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, checkpoints) -> str:
    folder = tmp_path_factory.mktemp("values")
    multi = request.param == "multi"
    recipe = four.make(folder, checkpoints, multi_label=multi, gaps=True)
    return str(four.train(recipe, folder / "run"))


@pytest.fixture(scope="module")
def report(run: str) -> dict:
    return build_report([run])


def test_patterns_equal_the_sweep_of_eval(run: str, report: dict):
    swept = json.loads(four.invoke("eval", run, "--sweep", "--json"))["patterns"]
    for row, scenario in zip(report["patterns"], swept, strict=True):
        assert row["missing"] == scenario["dropped"]
        assert (row["n"], row["n_empty"]) == (scenario["n"], scenario["n_empty"])
        assert row["scores"] == pytest.approx(scenario["scores"], abs=1e-6)
        low, high = row["interval"]
        assert low <= row["corrected"] <= high


def test_contributions_add_up_to_complete_minus_the_score_of_an_all_zero_fusion(run: str, report: dict):
    model = api.load(run)
    metric, encoded = report["metric"]["name"], model.encode()
    nothing = model.network.head.bias.detach().expand(len(encoded.target), -1)
    floor = scores(nothing, encoded.target, model.recipe.task)[metric]
    found = report["contributions"]
    assert found["empty"] == pytest.approx(floor, abs=1e-6)
    total = sum(row["value"] for row in found["values"].values())
    assert total == pytest.approx(report["headline"]["complete"] - floor, abs=1e-6)
    assert len(found["pairs"]) == 6


def test_contributions_are_those_of_all_orders_by_name(run: str, report: dict):
    model = api.load(run)
    metric, encoded, names = report["metric"]["name"], model.encode(), model.network.names
    worth = {}
    for team in (frozenset(part) for n in range(5) for part in itertools.combinations(names, n)):
        kept_M = torch.tensor([name in team for name in names])
        logits_NC = classify(model.network, encoded, encoded.present_NM & kept_M)
        worth[team] = scores(logits_NC, encoded.target, model.recipe.task)[metric]
    found = report["contributions"]
    for name in names:
        added = []
        for order in itertools.permutations(names):
            before = frozenset(order[: order.index(name)])
            added.append(worth[before | {name}] - worth[before])
        assert found["values"][name]["value"] == pytest.approx(np.mean(added), abs=1e-6), name
    for row in found["pairs"]:
        i, j = ({name} for name in row["pair"])
        value = 0.0
        for team in (team for team in worth if not team & (i | j)):
            share = math.factorial(len(team)) * math.factorial(2 - len(team)) / math.factorial(3)
            value += share * (worth[team | i | j] - worth[team | i] - worth[team | j] + worth[team])
        assert row["value"] == pytest.approx(value, abs=1e-6), row["pair"]
    if metric == "accuracy":  # else the test would not tell one modality from another
        assert len({round(found["values"][name]["value"], 6) for name in names}) > 1


def test_curves_end_at_complete_and_at_the_pattern_without_the_modality(report: dict):
    metric = report["metric"]["name"]
    patterns = {tuple(row["missing"]): row for row in report["patterns"]}
    for curve in report["availability"]:
        row = patterns[curve["modality"],]
        assert curve["scores"][0] == pytest.approx(row["scores"][metric], abs=1e-6)
        assert curve["scores"][-1] == pytest.approx(row["complete"], abs=1e-6)
        assert curve["n"] == row["n"]


def test_a_point_of_a_curve_is_the_mean_of_eval_keep_over_its_seeds(run: str, report: dict):
    model, metric = api.load(run), report["metric"]["name"]
    encoded, curves = model.encode(), {curve["modality"]: curve for curve in report["availability"]}
    keys, usable_N = bare_split(model.recipe, "test").keys(), encoded.present_NM[:, 1:].any(1)
    drawn = []
    for seed in range(300):
        kept_NM = keep_mask(keys, model.network.names, encoded.present_NM, {"left": Decimal("0.6")}, seed)
        logits_NC = classify(model.network, encoded, encoded.present_NM & kept_NM)[usable_N]
        drawn.append(scores(logits_NC, encoded.target[usable_N], model.recipe.task)[metric])
    error = np.std(drawn) / np.sqrt(20)  # 20 draws of the report, 300 here
    assert curves["left"]["scores"][6] == pytest.approx(np.mean(drawn), abs=3 * error + 1e-6)
    if metric == "accuracy":
        assert curves["left"]["draw_sd"][6] == pytest.approx(np.std(drawn), rel=0.15, abs=1e-6)


def test_classes_without_mask_tokens_are_scored_with_zeros(run: str, report: dict):
    model = api.load(run)
    encoded, task_ = model.encode(), model.recipe.task
    present_NM = encoded.present_NM & torch.tensor([True, False, True, True])
    fused_ND = (encoded.cls_NMD * present_NM[:, :, None]).sum(1)
    usable_N = present_NM.any(1)
    zeros = Predictions.of(model.network.head(fused_ND).detach(), encoded.target, task_).at(usable_N)
    expected = zeros.class_scores()
    for row in report["classes"]:
        found = row["missing_without_mask_tokens"]["right"]
        assert found == pytest.approx(float(expected[task_.classes.index(row["class"])]), abs=1e-6)


def test_the_headline_is_the_worst_pattern(report: dict):
    metric = report["metric"]["name"]
    worst = min(report["patterns"], key=lambda row: row["scores"][metric])
    assert report["headline"]["worst"]["missing"] == worst["missing"]
    assert report["headline"]["drop_points"] == pytest.approx(-100 * worst["difference"])
    assert report["data"]["n_incomplete"] == 5
    assert report["runs"][0]["learnable"] > 0


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> str:
    folder = tmp_path_factory.mktemp("plain")
    return str(four.train(four.make(folder, checkpoints), folder / "run", "training.epochs=1"))


def test_the_same_run_gives_the_same_bytes(plain_run: str, tmp_path: Path):
    first = write_report([plain_run], out=tmp_path / "a").parent
    second = write_report([plain_run], out=tmp_path / "b").parent
    names = sorted(path.name for path in first.iterdir())
    assert {"report.html", "report.json", "patterns.csv", "classes.csv", "tokens.csv"} <= set(names)
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    with (first / "patterns.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 15
    json.loads((first / "report.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_command_refuses_runs_of_other_data(run: str, plain_run: str, tmp_path: Path):
    message = four.invoke("report", run, plain_run, "--out", str(tmp_path / "out"), code=2)
    assert "than the first run" in message
    assert not (tmp_path / "out").exists()


def test_command_writes_into_the_run(plain_run: str):
    assert f"wrote {plain_run}/report/report.html" in four.invoke("report", plain_run)


def test_a_run_of_one_modality_has_a_report_too(checkpoints: dict[str, Path], tmp_path: Path):
    recipe = four.make(tmp_path, checkpoints)
    text = recipe.read_text(encoding="utf-8")
    alone = text[: text.index("[modalities.right]")] + text[text.index("[training]") :]
    recipe.write_text(alone, encoding="utf-8")
    run = four.train(recipe, tmp_path / "run", "training.epochs=1")
    page = write_report([str(run)]).read_text(encoding="utf-8")
    assert "One modality: accuracy" in page
    assert 'id="figure-calibration-0"' in page
    assert 'id="contributions"' not in page


def test_a_shared_encoder_is_said_to_be_counted_above(checkpoints: dict[str, Path], tmp_path: Path):
    recipe = four.make(tmp_path, checkpoints)
    told = {line.split()[0]: line for line in four.invoke("params", str(recipe)).splitlines() if line.strip()}
    assert "(shared: counted above)" in told["right.encoder"]
    assert "shared" not in told["left.encoder"]
