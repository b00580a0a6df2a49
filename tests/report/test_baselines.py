"""Baselines on frozen tokens: against scikit-learn by hand, on the right samples, and in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import toys
from click.testing import CliRunner, Result
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import u2a
from u2a.cli.main import main
from u2a.data.feeding.held_out import held_out
from u2a.data.reading.opening import evaluation_split
from u2a.errors import U2AError
from u2a.evaluation.baselines import Features, dedicated_probe
from u2a.evaluation.log_odds import corrected
from u2a.evaluation.validation import pattern_logits
from u2a.report import frozen
from u2a.report.baselines import LABELS, run_baselines
from u2a.report.build import build_report
from u2a.report.verdict import worth_trying

pytestmark = pytest.mark.compares
COUNTS = {"train": 48, "val": 32, "test": 24}
NO_START = ("--set", "training.head_start=false")
FOUR = list(LABELS)[:4]  # what needs no training


def sides(gaps: bool = False) -> list[Features]:
    draw = np.random.default_rng(0)
    found = []
    for n in (80, 40, 30):
        y = draw.integers(3, size=n)
        read = tuple(np.eye(3)[y] @ np.ones((3, w)) + draw.normal(size=(n, w)) + y[:, None] for w in (4, 6))
        present = draw.random((n, 2)) < 0.7 if gaps else np.ones((n, 2), bool)
        present[~present.any(1), 0] = True
        found.append(Features(read, present, y))
    return found


@pytest.mark.parametrize("gaps", [False, True])
def test_a_dedicated_probe_is_scikit_learns_on_exactly_these_samples(gaps: bool) -> None:
    train, val, test = sides(gaps)
    rows, judged = (side.present_NM[:, 1] for side in (train, val))
    x = train.read_NF[1][rows]

    def scaled(z: np.ndarray) -> np.ndarray:
        return (z - x.mean(0)) / x.std(0) / np.sqrt(6)

    fits = [
        LogisticRegression(C=1 / (s * len(x)), max_iter=1000).fit(scaled(x), train.target[rows])
        for s in 10.0 ** np.arange(1, -6, -1)
    ]
    losses = [log_loss(val.target[judged], fit.predict_proba(scaled(val.read_NF[1][judged]))) for fit in fits]
    best = fits[int(np.argmin(losses))].predict_proba(scaled(test.read_NF[1]))
    there = test.present_NM[:, 1]
    mine = dedicated_probe(train, val, test, (False, True))
    np.testing.assert_allclose(mine[there], best[there], atol=2e-3)


def test_a_pattern_that_no_training_sample_has_is_the_majoritys() -> None:
    train, val, test = sides()
    train.present_NM[:, 1] = False
    p_NC = dedicated_probe(train, val, test, (True, True))
    share = np.bincount(train.target, minlength=3) / len(train.target)
    np.testing.assert_allclose(p_NC, np.tile(share, (len(test.target), 1)))


@pytest.fixture(scope="module")
def plain(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe without a setting of model or training."""
    recipe = toys.make(tmp_path_factory.mktemp("plain") / "toy", checkpoints, counts=COUNTS)
    text = recipe.read_text()
    recipe.write_text(text[: text.index("[model]")].replace('select_on = "complete"\n', ""))
    return recipe


def train(recipe: Path, run: Path, *more: str) -> Result:
    sets = ("--set", "training.device=cpu", "--set", "training.epochs=0", "--set", "model.read_out=both")
    return CliRunner().invoke(main, ["train", str(recipe), "--run", str(run), *sets, *more])


@pytest.fixture(scope="module")
def told(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run that was compared, and what its training said."""
    run = tmp_path_factory.mktemp("trained") / "run"
    done = train(plain, run)
    assert done.exit_code == 0, done.output
    return run, done.stdout.splitlines()


@pytest.fixture(scope="module")
def trained(told: tuple[Path, list[str]]) -> Path:
    return told[0]


def test_a_training_says_in_its_last_lines_where_it_is_behind(
    told: tuple[Path, list[str]], plain: Path
) -> None:
    run, said = told
    wanted = run_baselines(u2a.load(run), split="val")["verdict"]
    assert said[-len(wanted) :] == [f"beside baselines on 32 validation samples: {wanted[0]}", *wanted[1:]]
    swept = CliRunner().invoke(main, ["eval", str(run), "--sweep", "--baselines", "--split", "val"])
    assert swept.stdout.splitlines()[-len(wanted) :] == wanted
    again = train(plain, run, "--resume")
    assert "baselines" not in again.stdout  # nothing was trained


def test_a_rank_is_worth_a_try_where_adapters_are_trained(trained: Path) -> None:
    """Of no epochs more can help, and no learning rate does."""
    assert worth_trying(u2a.load(trained)) == ["more training.epochs", "model.lora_rank = 32"]


def test_no_failure_of_the_comparison_costs_the_training(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(run: str, seconds: float) -> list[str]:
        raise ZeroDivisionError("anything\nat all")

    monkeypatch.setattr("u2a.report.baselines.training_verdict", breaks)
    done = train(plain, tmp_path / "run", *NO_START)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "not compared with baselines: ZeroDivisionError: anything at all"


def test_a_training_need_not_be_compared(plain: Path, tmp_path: Path) -> None:
    assert "baselines" not in train(plain, tmp_path / "run", "--no-baselines", *NO_START).stdout


def test_what_was_held_out_is_never_fitted_on(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = train(plain, tmp_path / "run", "--set", "data.holdout=0.25")
    assert "beside baselines on 12 validation samples" in done.stdout, done.output
    model = u2a.load(tmp_path / "run")
    kept = frozen.frozen_features(model, frozen.scored_side(model, None))
    for file in (tmp_path / "run").glob("frozen-*.safetensors"):
        file.unlink()
    again = frozen.frozen_features(model, frozen.scored_side(model, None))
    for mine, encoded in zip(kept, again, strict=True):
        np.testing.assert_array_equal(mine.target, encoded.target)
        for x, wanted in zip(mine.read_NF, encoded.read_NF, strict=True):
            np.testing.assert_allclose(x, wanted, atol=1e-5)
    read: list[set[int]] = []
    monkeypatch.setattr(frozen, "_read", lambda frozen, model, side: read.append(set(side[1].tolist())))
    frozen.frozen_features(model, frozen.scored_side(model, None))
    held_N, _ = held_out(evaluation_split(model.recipe, "train"), model.recipe)
    assert read == [set(np.flatnonzero(~held_N)), set(np.flatnonzero(held_N))]


def test_without_validation_data_a_training_names_the_command(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    recipe = toys.make(tmp_path / "toy", checkpoints, counts={"train": 48, "test": 24})
    text = recipe.read_text()
    recipe.write_text(text[: text.index("[model]")].replace('select_on = "complete"\n', ""))
    run = tmp_path / "run"
    assert train(recipe, run).stdout.splitlines()[-1].endswith(f"on the test split: u2a baselines {run}")
    result = run_baselines(model := u2a.load(run))
    assert {row["n"] for row in result["patterns"]} == {24}
    assert result["fitted_on"] == 48  # as many as the model itself; a part of them chooses before that
    kept = frozen.frozen_features(model, frozen.scored_side(model, "test"))
    for file in run.glob("frozen-*.safetensors"):
        file.unlink()
    again = frozen.frozen_features(model, frozen.scored_side(model, "test"))
    assert [[len(side.target) for side in sides] for sides in (kept, again)] == [[48, 0, 24]] * 2
    np.testing.assert_allclose(kept[0].read_NF[0], again[0].read_NF[0], atol=1e-5)
    with pytest.raises(U2AError, match="has no validation data; name a split"):
        run_baselines(model, split=None)


def test_the_report_and_a_sweep_show_the_model_beside_baselines(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("u2a.report.baselines.verdict", lambda *_: ["behind it:", "image: 3 points"])
    wanted = run_baselines(u2a.load(trained))
    done = CliRunner().invoke(main, ["report", str(trained), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "report.json").read_text())["baselines"] == json.loads(json.dumps(wanted))
    page = (tmp_path / "report.html").read_text()
    table = page[page.index('id="table-baselines"') :].split("</table>")[0]
    for row in wanted["patterns"]:
        assert all(f"<td>{100 * row[name]['score']:.1f} <small>" in table for name in FOUR)
    assert "<p>Behind it:</p>" in page
    assert "<li>image: 3 points</li>" in page  # a modality's name is never changed
    swept = CliRunner().invoke(main, ["eval", str(trained), "--sweep", "--baselines", "--json"])
    assert json.loads(swept.stdout)["baselines"] == json.loads(json.dumps(wanted))
    refused = CliRunner().invoke(main, ["eval", str(trained), "--baselines"])
    assert refused.exit_code == 2
    assert "--sweep" in refused.stderr


def test_the_report_says_what_calibration_makes_of_each_pattern(trained: Path) -> None:
    """Temperatures are the checkpoint's; the sets, their coverage and rising confidence are computed anew."""
    model = u2a.load(trained)
    found = build_report([str(trained)])["calibrated"]
    logits = {split: pattern_logits(model.network, model.encode(split)) for split in ("val", "test")}
    p: dict[str, dict[tuple[bool, ...], np.ndarray]] = {"val": {}, "test": {}}
    rows = {tuple(row["missing"]): row for row in found}
    for pattern, missing in (((True, True), ()), ((True, False), ("text",)), ((False, True), ("image",))):
        row = rows[missing]
        for split in p:
            scaled = logits[split][pattern][0].astype(float) / row["temperature"]
            e = np.exp(scaled - scaled.max(1, keepdims=True))
            line = row["slope"], row["shift"]
            p[split][pattern] = corrected(e / e.sum(1, keepdims=True), line, multi_label=False)
        y_val, y = logits["val"][pattern][1], logits["test"][pattern][1]
        scores = np.sort(1 - p["val"][pattern][np.arange(len(y_val)), y_val])
        cut = 1 - scores[int(np.ceil((len(scores) + 1) * 0.9)) - 1]
        chosen = p["test"][pattern] >= cut - 1e-6
        assert row["set_size"] == pytest.approx(chosen.sum(1).mean())
        assert row["coverage"] == pytest.approx(chosen[np.arange(len(y)), y].mean())
    top = {pattern: values.max(1) for pattern, values in p["test"].items()}
    for alone, missing in (((True, False), ("text",)), ((False, True), ("image",))):
        share = (top[alone] > top[True, True] + 1e-9).mean()
        assert rows[missing]["rises_calibrated"] == pytest.approx(share)
    assert rows[()]["rises_calibrated"] is None  # nothing was taken away
