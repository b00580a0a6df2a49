"""What a run beside baselines, and a report's reader, are told: nothing that few samples or chance says."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import four
import numpy as np
import pytest

import u2a
from u2a.report.baselines import LABELS
from u2a.report.verdict import verdict, worth_trying

pytestmark = pytest.mark.compares
FOUR = dict(list(LABELS.items())[:4])
SIZES = {"a": 4, "b": 3}
LEVEL = "in no pattern behind a baseline by more than chance, 20 comparisons taken together"


def result_of(differences: list[float], n: int = 99, error: float = 1.0) -> dict[str, Any]:
    beside = [{name: {"difference": d, "error": error} for name in FOUR} for d in differences]
    rows = [
        {"missing": [], "n": n, "score": d + 1, **cells} for d, cells in zip(differences, beside, strict=True)
    ]
    return {"higher_is_better": True, "patterns": rows}


def said(result: dict[str, Any], *hints: str) -> list[str]:
    return verdict(result, ["a", "b"], FOUR, hints)


def test_one_of_many_comparisons_is_not_called_behind_by_chance() -> None:
    """Twenty comparisons: with 5 % in all, each needs 3.02 deviations (two-sided, Bonferroni)."""
    assert said(result_of([-2.9, 0, 0, 0, 0]), "this") == [LEVEL]
    lines = said(result_of([-3.1, 0, 0, 0, 0]), "this", "that")
    assert lines[0] == "behind a baseline by more than chance, 20 comparisons taken together:"
    assert lines[1] == "a + b: 310.0 points behind the most frequent class in training"
    assert lines[-1] == "try: this or that"
    assert len(lines) == len(FOUR) + 2


def test_few_samples_are_said_to_tell_nothing_but_what_they_do_tell_is_said() -> None:
    few = "too few samples to tell where it is behind: no pattern that has a score has 30"
    assert said(result_of([-2.9, 0, 0, 0, 0], 29)) == [few]
    assert said(result_of([-2.9, 0, 0, 0, 0], 30)) == [LEVEL]
    assert said(result_of([-9], 12))[1].startswith("a + b: 900.0 points behind")
    mixed = result_of([-2.9, 0, 0, 0, 0])
    mixed["patterns"][1] |= {"missing": ["a"], "n": 5}
    assert said(mixed) == [
        LEVEL.replace("pattern", "pattern of 30 samples or more"),
        "too few samples to tell: b (5)",
    ]


def test_a_score_that_is_not_defined_is_level_with_nothing() -> None:
    nothing = result_of([np.nan] * 5, error=np.nan)
    assert said(nothing) == ["nothing can be told: the score is not defined on these samples"]
    one = result_of([0] * 5)
    one["patterns"].append(nothing["patterns"][0] | {"missing": ["b"]})
    assert said(one) == [LEVEL, "the score is not defined: a"]


def trained(
    folder: Path, *, multi: bool = False, never: bool = False, gaps: bool = False, val: int = 30
) -> str:
    """Train on vectors of two modalities; the run, and what was said."""
    draw, rows = np.random.default_rng(0), []
    for split, n in {"train": 60, "val": val, "test": 40}.items():
        for i in range(n):
            row: dict[str, Any] = {"split": split, "key": f"{split}{i}"}
            row |= {m: (draw.normal(size=size) + i % 3).tolist() for m, size in SIZES.items()}
            row |= {"labels": [] if split == "test" else [f"c{i % 3}"]} if multi else {"label": f"c{i % 3}"}
            if never or (gaps and i % 3 == 0):
                del row["b"]
            elif gaps and i % 3 == 1:
                del row["a"]
            rows.append(row)
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kinds = "".join(f'[modalities.{m}]\nkind = "features"\nsize = {size}\n' for m, size in SIZES.items())
    task = f'[task]\nkind = "{"multi" if multi else "single"}_label"\nclasses = ["c0", "c1", "c2"]\n'
    recipe = folder / "vectors.toml"
    recipe.write_text(f'name = "vectors"\n[data]\nshards = "shards"\n{task}{kinds}[training]\npatience = 1\n')
    four.invoke("data", "pack", recipe, "--manifest", folder / "m.jsonl")
    return four.invoke("train", recipe, "--run", folder / "run", "--set", "training.device=cpu")


def report_of(folder: Path) -> tuple[dict[str, Any], str]:
    four.invoke("report", folder / "run", "--out", folder / "out")
    return json.loads((folder / "out/report.json").read_text()), (folder / "out/report.html").read_text()


def test_a_training_says_how_many_samples_each_pattern_has_and_that_they_are_few(tmp_path: Path) -> None:
    beside = "beside baselines on 30 validation samples (10 to 20 a pattern): too few samples to tell where"
    assert beside in trained(tmp_path, gaps=True)


def test_what_was_never_there_and_what_patience_ended_is_not_worth_a_try(tmp_path: Path) -> None:
    """Encoders of vectors are trained whole: no rank would change them."""
    assert "the training ends here" in trained(tmp_path)
    assert worth_trying(u2a.load(tmp_path / "run")) == ["training.lr half and double of what it is"]
    told = four.invoke("baselines", tmp_path / "run")
    assert "in brackets: 95 % intervals of the differences, each by itself" in told
    assert told.splitlines()[-1].endswith("12 comparisons taken together")
    report, page = report_of(tmp_path)
    assert report["patterns"][0]["scores"]["accuracy"] == report["patterns"][0]["complete"]
    assert "over other test samples, each by itself." in page
    assert "most frequent class in training %" in page


def test_a_report_without_a_score_says_so(tmp_path: Path) -> None:
    """Multi-label test samples without any label."""
    trained(tmp_path, multi=True)
    told = four.invoke("baselines", tmp_path / "run").splitlines()
    assert "complete (N 40): not defined" in told
    assert told[-1] == "nothing can be told: the score is not defined on these samples"
    report, page = report_of(tmp_path)
    assert report["classes"] == []
    assert '<h1 class="lead">Macro F1 is not defined on the 40 samples of split test.</h1>' in page
    assert "<dd>not defined</dd>" in page
    assert "Nothing can be told: the score is not defined on these samples" in page
    assert not [part for part in ("classes", "in-use", "availability") if f'id="{part}"' in page]


def test_what_no_sample_has_costs_nothing_to_lose(tmp_path: Path) -> None:
    trained(tmp_path, never=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        report, page = report_of(tmp_path)
    assert [row["missing"] for row in report["patterns"]] == [[]]
    assert report["data"]["never"] == ["b"]
    score = f"{100 * report['headline']['complete']:.1f}"
    assert f'<h1 class="lead">Without b: accuracy {score} %.</h1>' in page
    assert "Losing b" not in page
    table = page[page.index('id="table-patterns"') :].split("</table>")[0]
    assert ("<span>without b</span>" in table, "<span>complete</span>" in table) == (True, False)
    assert table.count('<i class="on">') == 1
