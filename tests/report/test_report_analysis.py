"""What a report says of encodings made by hand, where the right answer is plain to see."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from tasks import make_task
from torch import Tensor

from u2a.evaluation.encoding import Encoded
from u2a.recipe.task import TaskSection
from u2a.report.drawing.figures import availability, calibration, classes
from u2a.report.drawing.grids import contributions, interactions, rates
from u2a.report.drawing.style import BAD, GOOD, MUTED
from u2a.report.page import lead, points, tenths
from u2a.report.tables import csv_tables, worst_loss
from u2a.report.together import _headline, _over_seeds
from u2a.report.values.analysis import Analysis
from u2a.report.values.availability import curves
from u2a.report.values.details import class_rows

NAMES = ("image", "text")


def analysis(logits_NMC: Any, present_NM: Any, target: Any, task: TaskSection) -> Analysis:
    """Of a model whose logits are the sum of what the present modalities say."""
    cls_NMD, present_NM = torch.tensor(logits_NMC, dtype=torch.float), torch.tensor(present_NM)
    N, M, C = cls_NMD.shape

    def classify(cls_BMD: Tensor, mask_BMMD: Tensor, present_BM: Tensor) -> Tensor:
        return (cls_BMD * present_BM[:, :, None]).sum(1)

    network: Any = SimpleNamespace(names=NAMES, device=torch.device("cpu"), n_classes=C, classify=classify)
    encoded = Encoded(
        cls_NMD,
        torch.zeros(N, M, M, C),
        present_NM,
        torch.tensor(target),
        torch.arange(N),
        tuple(map(str, range(N))),
    )
    return Analysis(network, encoded, task, [str(n) for n in range(N)])


def test_the_loss_of_a_class_is_measured_on_the_samples_that_the_modality_leaves():
    """Two samples that text alone gets right, and two that have text alone and are wrong."""
    both, text_only = [[0, 2], [5, 0]], [[0, 0], [0, 5]]
    task = make_task(classes=("a", "b"))
    found = analysis(
        [both, both, text_only, text_only], [[True, True]] * 2 + [[False, True]] * 2, [0] * 4, task
    )
    (row,) = class_rows([found.detail()], task.classes)
    assert row["complete"] == 0.5
    assert row["missing"] == {"image": 0.5, "text": 0.0}
    assert worst_loss(row) == 1.0
    empty: Any = {"patterns": [], "availability": [], "tokens": [], "calibration": [], "rates": None}
    empty |= {"confusion": None, "mistakes": {"samples": []}, "training": []}
    empty |= {"over_seeds": None, "contributions": {"values": {}, "pairs": [], "classes": {}}}
    (cells,) = csv_tables({**empty, "classes": [row]})["classes"]
    assert (cells["complete beside text"], cells["without text"]) == (1.0, 0.0)


def test_tables_say_what_the_report_says():
    def of_class(name: str, n: int, without: float) -> dict[str, Any]:
        parts = {"class": name, "n": n, "complete": 0.9, "missing": {"text": without}}
        parts |= {"complete_beside": {"text": 0.8}, "change_interval": {"text": [-0.3, 0.1]}}
        return parts | {"missing_without_mask_tokens": {"text": 0.1}}

    intervals = {"interval": [0.3, 0.6], "difference_interval": [-0.4, -0.2], "bound": 0.25}
    intervals |= {"simultaneous_interval": [-0.5, -0.1], "complete": 0.8, "difference": -0.3}
    report: Any = {
        "patterns": [
            {"missing": ["image", "text"], "n": 7, "n_empty": 2, "scores": {"map": 0.5}}
            | intervals
            | {"by_seed": [0.4, 0.6]}
        ],
        "availability": [
            {"modality": "text", "shares": [0, 0.5], "scores": [0.1, 0.2], "draw_sd": [0, 0.01]}
            | {"interval": [[0.0, 0.3], [0.1, 0.4]]}
        ],
        "classes": [of_class("ant", 4, 0.7), of_class("bee", 5, 0.2), of_class("cat", 6, 0.2)],
        "tokens": [
            {"source": "text", "target": "image", "n": 9, "mse": 2.0, "cosine": 0.5}
            | {"class_mse": [1.0, 3.0], "class_cosine": [0.4, 0.6]}
        ],
        "classes_of_task": ["x", "y"],
        "contributions": {
            "values": {"text": {"value": 0.1, "interval": [0.0, 0.2]}},
            "pairs": [{"pair": ["image", "text"], "value": 0.3, "interval": [0.1, 0.5]}],
            "classes": {"x": {"text": 0.7}},
        },
        "calibration": [
            {"missing": "text", "n": 3, "brier": {"value": 0.2}, "nll": {"value": 0.7}, "ece": 0.1}
            | {"ece_calibrated": 0.05, "ece_limit": 0.15, "bins": [{"low": 0.0, "count": 3}]}
        ],
        "rates": {"cells": [{"trained": "complete", "mean": 0.5}]},
        "confusion": {"classes": ["x", "y"], "counts": [[1, 2], [3, 4]]},
        "mistakes": {"samples": []},
        "training": [
            {"seed": 3, "epochs": [1, 2], "losses": [0.9, 0.8], "validated": [0, 2], "scores": [0.5, 0.6]}
        ],
    }
    found = csv_tables(report)
    (pattern,) = found["patterns"]
    assert (pattern["missing"], pattern["low"], pattern["high"]) == ("image text", 0.3, 0.6)
    assert (pattern["difference_low"], pattern["simultaneous_high"]) == (-0.4, -0.1)
    assert (pattern["run 1"], pattern["run 2"]) == (0.4, 0.6)
    assert [row["class"] for row in found["classes"]] == ["bee", "cat", "ant"]  # what loses most, first
    assert (found["classes"][0]["without text"], found["classes"][0]["change without text low"]) == (0.2, -0.3)
    second = found["availability"][1]
    assert list(second.values()) == ["text", 0.5, 0.2, 0.1, 0.4, 0.01]
    assert [(row["class"], row["mse"], row["cosine"]) for row in found["tokens"]] == [
        ("", 2.0, 0.5),
        ("x", 1.0, 0.4),
        ("y", 3.0, 0.6),
    ]
    assert [tuple(row.values()) for row in found["contributions"]] == [
        ("shapley", "text", "", 0.1, 0.0, 0.2),
        ("interaction", "image text", "", 0.3, 0.1, 0.5),
        ("shapley", "text", "x", 0.7, "", ""),
    ]
    assert list(found["calibration"][0].values()) == ["text", 3, 0.2, 0.7, 0.1, 0.05, 0.15, 0.0, 3]
    assert [tuple(row.values()) for row in found["confusion"]] == [
        ("x", "x", 1),
        ("x", "y", 2),
        ("y", "x", 3),
        ("y", "y", 4),
    ]
    assert [tuple(row.values()) for row in found["training"]] == [
        (3, 0, "", 0.5),
        (3, 1, 0.9, ""),
        (3, 2, 0.8, 0.6),
    ]
    assert "mistakes" not in found


@pytest.mark.parametrize(("sign", "scores"), [(1, (0.9, 0.7, 0.6)), (-1, (0.1, 0.3, 0.4))])
def test_the_headline_is_of_the_worst_pattern_whichever_way_the_metric_goes(sign: int, scores: Any):
    rows: Any = [
        {"missing": list(missing), "n": n, "scores": {"x": score}, "complete": scores[0], "bound": 0.5}
        | {"difference": score - scores[0], "interval": [score, score], "beyond_chance": True}
        | {"simultaneous_interval": sorted([score - scores[0] - 0.1, score - scores[0] + 0.05])}
        for missing, n, score in zip(
            ((), ("a",), ("b",), ("a", "b")), (9, 8, 7, 1), (*scores, float("nan")), strict=True
        )
    ]
    found = _headline(rows, "x", sign)
    assert (found["complete"], found["worst"]["missing"], found["worst"]["n"]) == (scores[0], ["b"], 7)
    assert (found["worst"]["score"], found["worst"]["complete"]) == (scores[2], scores[0])
    assert found["drop_points"] == pytest.approx(30)  # what is lost, as a positive number
    low, high = found["drop_interval"]
    assert (low, high) == pytest.approx((25, 40) if sign > 0 else (20, 35))


def test_seeds_deviate_as_a_sample_of_them():
    rows: Any = [{"by_seed": [0.5, 0.7, 0.9]}, {"by_seed": [0.1, 0.1, 0.4]}]
    found = _over_seeds(rows, 3)
    assert found["patterns"]["mean"] == pytest.approx([0.7, 0.2])
    assert found["patterns"]["sd"] == pytest.approx([0.2, np.sqrt(0.03)])


@pytest.mark.parametrize(("higher", "helps", "hurts"), [(True, 0.2, -0.1), (False, -0.2, 0.1)])
def test_what_helps_is_blue_and_what_hurts_orange_whichever_way_the_metric_goes(
    higher: bool, helps: float, hurts: float
):
    values = [{"value": value, "interval": [value, value]} for value in (helps, hurts)]
    report = {
        "metric": {"label": "score", "higher_is_better": higher},
        "contributions": {
            "values": dict(zip(NAMES, values, strict=True)),
            "pairs": [{"pair": list(NAMES), **values[0]}],
        },
        "rates": {
            "trained": ["complete"],
            "tested": ["complete"],
            "cells": [{"trained": "complete", "tested": "complete", "mean": 0.5, "sd": 0.02}],
        },
    }
    bars = contributions(report).figure.axes[0].patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [GOOD, BAD]
    pairs = interactions(report).figure.axes[0].patches  # neither good nor bad
    assert {to_hex(bar.get_facecolor()) for bar in pairs} == {MUTED}
    side = "Right" if helps > 0 else "Left"
    assert interactions(report).caption.startswith(f"{side} of zero: the pair tells more")
    chart = rates(report)
    assert ("Strong" if higher else "Pale") + " is better." in chart.caption
    assert "50.0 ± 2.0" in [text.get_text() for text in chart.figure.axes[0].texts]


def row(missing: str, complete: float, score: float, beyond: bool = True) -> dict[str, Any]:
    return {
        "missing": [missing],
        "complete": complete,
        "scores": {"accuracy": score},
        "difference": score - complete,
        "beyond_chance": beyond,
    }


def test_the_lead_calls_a_gain_no_cost_and_a_chance_a_chance():
    report: dict[str, Any] = {"metric": {"label": "accuracy", "higher_is_better": True}, "over_seeds": None}
    report["headline"] = {"complete": 0.6}
    report["patterns"] = [row("text", 0.6, 0.5), row("image", 0.025, 0.034)]
    said = lead(report)
    assert said.startswith("Losing text costs most: accuracy goes from 60.0 to 50.0 %; ")
    assert said.endswith("losing image costs nothing: from 2.5 to 3.4 %.")
    report["patterns"] = [row("text", 0.6, 0.59, beyond=False), row("image", 0.6, 0.595, beyond=False)]
    assert "from 60.0 to 59.0 %, which chance could do; losing image costs least" in lead(report)
    report["patterns"] = [row("text", 0.6, 0.61), row("image", 0.6, 0.62)]
    assert (
        lead(report)
        == "Losing no single modality costs anything: accuracy goes from 60.0 to 61.0 % without text."
    )
    report["patterns"] = [row("text", 0.6, 0.5996), row("image", 0.6, 0.5997)]
    assert lead(report).endswith("costs anything: accuracy goes from 60.0 to 60.0 % without text.")
    report["patterns"] = [row("text", 0.6, 0.5), row("image", 0.6, 0.5999)]
    assert lead(report).endswith("losing image costs nothing: from 60.0 to 60.0 %.")


def test_numbers_have_a_true_minus():
    assert tenths(-0.34) == "\N{MINUS SIGN}0.3"
    assert points(-0.0034) == "\N{MINUS SIGN}0.3"
    assert tenths(-0.04) == "0.0"


def test_the_reliability_of_labels_is_not_called_right():
    bins = [{"confidence": 0.3, "outcome": 0.2, "count": 9}]
    cell = {"missing": None, "ece": 0.1, "ece_calibrated": 0.05, "brier": {"value": 0.2}, "bins": bins}
    for task, label in (("multi_label", "has the label (%)"), ("single_label", "right (%)")):
        report = {"task": task, "calibration": [cell], "modalities": ["a"]}
        assert calibration(report, 0).figure.axes[0].get_ylabel() == label


def test_a_curve_counts_the_samples_that_have_the_modality():
    """Three of four have text, which alone is right: at 30 % one of them keeps it, at 100 % all three."""
    both, image_only = [[2, 0], [0, 5]], [[2, 0], [0, 0]]
    present = [[True, True]] * 3 + [[True, False]]
    found = analysis([both] * 3 + [image_only], present, [1] * 4, make_task(classes=("a", "b")))
    report = {
        "metric": {"label": "accuracy"},
        "modalities": list(NAMES),
        "constant": {"score": 0.75, "answer": "always the most frequent class"},
        "over_seeds": None,
        "availability": curves([found.availability()]),
    }
    chart = availability(report)
    axes = chart.figure.axes[0]
    assert list(axes.lines[-1].get_ydata()) == [75, 75]
    assert chart.caption.endswith("Dotted: always the most frequent class, 75.0 %.")
    text = dict(zip(*axes.lines[-2].get_data(), strict=True))
    assert (text[0], text[30], text[100]) == (0, 25, 75)
    assert axes.get_xlabel().endswith("% of the samples that have it)")


def test_the_class_charts_line_leads_left_for_a_loss_and_right_for_a_gain_the_largest_loss_first():
    def one(name: str, complete: float, without: float) -> dict[str, Any]:
        filled = {"complete_beside": {"a": complete}, "missing": {"a": without}}
        change = {"change_interval": {"a": [without - complete - 0.1, without - complete + 0.1]}}
        return {"class": name, "n": 7, **filled, **change, "missing_without_mask_tokens": {"a": 0.5}}

    rows = [one("gains", 0.3, 0.9), one("loses", 0.8, 0.2), one("keeps", 0.6, 0.6)]
    report: dict[str, Any] = {"classes": rows, "availability": [{"modality": "a"}], "modalities": ["a"]}
    report |= {"metric": {"class_label": "recall of the class"}, "classes_of_task": ["gains", "loses", "keeps"]}
    chart = classes(report, 0)
    axes = chart.figure.axes[0]
    segments = axes.collections[0].get_segments()
    names = [label.get_text() for label in axes.get_yticklabels()]
    ends = {name: sorted(segment[:, 0]) for name, segment in zip(names, segments, strict=True)}
    assert names == ["loses (7)", "keeps (7)", "gains (7)"]
    ends = {name.split()[0]: value for name, value in ends.items()}
    whiskers = axes.collections[1].get_segments()
    assert sorted(whiskers[0][:, 0]) == pytest.approx([10, 30])  # of the score that is left
    assert ends["loses"] == pytest.approx([20, 80])
    assert ends["gains"] == pytest.approx([30, 90])
    tick, filled, _ = (line.get_xdata() for line in axes.lines[:3])
    assert filled[0] < tick[0]  # to the left is a loss
    assert filled[2] > tick[2]
    assert "to the left is a loss, to the right a gain" in chart.caption
