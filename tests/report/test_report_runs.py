"""Reports of runs that are seldom what a reader hopes for: unlike each other, or without a score."""

from __future__ import annotations

import json
from pathlib import Path

import four
import pytest

from u2a.report.build import build_report
from u2a.report.write import write_report


@pytest.mark.parametrize("section", ["data.missing", "data.missing.train"])
def test_seeds_of_one_condition_have_tables_of_the_same_rate(
    checkpoints: dict[str, Path], tmp_path: Path, section: str
):
    recipe, runs = four.make(tmp_path, checkpoints), []
    for seed, rate in ((0, "0.35"), (1, "0.35"), (0, "0.7")):
        table = str(tmp_path / f"{rate}-{seed}.safetensors")
        four.invoke("data", "mask", str(recipe), "--rate", rate, "--seed", str(seed), "--out", table)
        sets = (f"seed={seed}", f"{section}.table={table}", "training.epochs=1")
        runs.append(str(four.train(recipe, tmp_path / f"{rate}-{seed}-run", *sets)))
    together = build_report(runs)
    assert [run["seeds_of_first"] for run in together["runs"]] == [True, True, False]
    assert together["over_seeds"]["n"] == 2


def test_scores_that_are_undefined_are_left_out_of_the_page(checkpoints: dict[str, Path], tmp_path: Path):
    """Multi-label with mean average precision; who has more than left has no label."""
    recipe = four.make(tmp_path, checkpoints, multi_label=True, gaps=True)
    manifest = tmp_path / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["labels"] = [] if row["split"] == "test" and "right" in row else row["labels"]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    four.invoke("data", "pack", str(recipe), "--manifest", str(manifest), "--overwrite", "--workers", "1")
    run = four.train(recipe, tmp_path / "run", "task.metric=map", "training.epochs=1")
    folder = write_report([str(run)]).parent
    text = (folder / "report.json").read_text(encoding="utf-8")
    report = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    undefined = [row["missing"] for row in report["patterns"] if row["scores"]["map"] is None]
    assert undefined == [row["missing"] for row in report["patterns"] if "left" in row["missing"]] != []
    assert report["headline"]["worst"]["score"] is not None
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Losing left" not in page
    assert "without left, right" in page
    assert "nan" not in (folder / "patterns.csv").read_text()
