"""Charts of what went wrong and how it was trained: confusions, losses, validation scores, class counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from u2a.report.drawing.style import (
    BAD,
    GOOD,
    INK,
    MOST,
    MUTED,
    Chart,
    constant_line,
    name_rows,
    new_axes,
    short,
)


def confusion(report: dict[str, Any]) -> Chart:
    """Which class is taken for which, in shares of each true class; of many classes the most confused."""
    found = report["confusion"]
    count_CC = np.array(found["counts"], dtype=float)
    wrong_CC = count_CC - np.diag(np.diag(count_CC))
    chosen = np.sort(np.argsort(-(wrong_CC.sum(0) + wrong_CC.sum(1)), kind="stable")[:MOST])
    share_CC = count_CC[np.ix_(chosen, chosen)] / np.maximum(count_CC.sum(1)[chosen], 1)[:, None]
    names, size = [short(found["classes"][c], 16) for c in chosen], len(chosen)
    figure, axes = new_axes(1.7 + 0.3 * max(8, size), 1.5 + 0.24 * max(6, size))
    for t, g in zip(*np.nonzero(share_CC), strict=True):
        share, right = share_CC[t, g], t == g
        fill = {"color": GOOD if right else BAD, "alpha": 0.08 + 0.62 * share, "linewidth": 0}
        axes.add_patch(Rectangle((g - 0.48, t - 0.46), 0.96, 0.92, **fill))
        if share >= 0.005:
            axes.text(g, t, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5, color=INK)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_xticks(range(size), names, rotation=45, ha="right")
    name_rows(axes, names)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("guessed")
    axes.set_ylabel("true")
    said = "; ".join(
        f"{row['truth']} taken for {row['guess']} {row['count']:.0f} times" for row in found["pairs"][:5]
    )
    alt = f"Confusion matrix in percent of each true class, {size} classes. Most frequent: {said or 'none'}."
    caption = "Percent of each true class (row) by what was guessed (column): blue is right, orange wrong."
    more = f" The {MOST} most confused of {len(count_CC)} classes." if len(count_CC) > MOST else ""
    return Chart(
        "confusion",
        figure,
        alt,
        caption + more,
        "wide" if size > 12 else "narrow",
        "Which class is taken for which",
    )


def training(report: dict[str, Any]) -> list[Chart]:
    """Losses and validation scores by epoch, and how many samples each class has."""
    charts = [_losses(report)] if any(run["epochs"] for run in report["training"]) else []
    charts += [_scores(report)] if any(run["validated"] for run in report["training"]) else []
    return [*charts, class_counts(report)]


def _losses(report: dict[str, Any]) -> Chart:
    chart = _curves(report, "training-loss", "epochs", "losses", 1)
    chart.figure.axes[0].set_ylabel("training loss")
    return replace(chart, title="Training loss", caption="Mean of each epoch's steps." + _seeds(report))


def _scores(report: dict[str, Any]) -> Chart:
    label = report["metric"]["label"]
    chart = _curves(report, "training-score", "validated", "scores", 100)
    axes = chart.figure.axes[0]
    axes.set_ylabel(f"validation {label} (%)")
    for run in report["training"]:
        if run["best"] in run["validated"]:
            score = 100 * run["scores"][run["validated"].index(run["best"])]
            axes.plot([run["best"]], [score], "o", color=GOOD, markersize=7, zorder=3)
    caption = "Complete validation data. Dot: the checkpoint that this page is about." + _seeds(report)
    return replace(chart, title="Validation score", caption=caption + constant_line(axes, report))


def _curves(report: dict[str, Any], name: str, x: str, y: str, factor: float) -> Chart:
    figure, axes = new_axes(height=2.5)
    said = []
    for run in report["training"]:
        values = [factor * value for value in run[y]]
        axes.plot(run[x], values, color=INK, alpha=0.75, linewidth=1.2, marker=".", markersize=4)
        if values:
            said.append(f"seed {run['seed']}: {values[0]:.3g} to {values[-1]:.3g}")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return Chart(name, figure, f"Line chart of {y} by epoch. {'; '.join(said)}.")


def _seeds(report: dict[str, Any]) -> str:
    return " One line a seed." if len(report["training"]) > 1 else ""


def class_counts(report: dict[str, Any]) -> Chart:
    """How many samples each class has, in training and in the split that is scored, most frequent first."""
    counts = report["class_counts"]
    scored = report["data"]["split"]
    bars = np.array(counts.get("train", counts[scored]))
    order = np.argsort(-bars, kind="stable")
    chosen = order if len(order) <= MOST else np.r_[order[: MOST // 2], order[-MOST // 2 :]]
    figure, axes = new_axes(height=0.9 + 0.215 * max(4, len(chosen)))
    places = np.arange(len(chosen))
    which = "train" if "train" in counts else scored
    axes.barh(places, bars[chosen], height=0.62, color=MUTED, alpha=0.45, linewidth=0, label=which)
    if "train" in counts:
        axes.plot(np.array(counts[scored])[chosen], places, "|", color=INK, markersize=9, label=scored)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlim(left=0)
    name_rows(axes, [short(report["classes_of_task"][c], 18) for c in chosen])
    axes.set_xlabel("samples")
    said = "; ".join(f"{report['classes_of_task'][c]} {bars[c]}" for c in chosen)
    caption = f"Samples of each class in {which} (bar)" + (
        f" and {scored} (tick)." if "train" in counts else "."
    )
    if len(order) > MOST:
        caption += f" The {MOST // 2} most and least frequent of {len(order)} classes."
    return Chart(
        "class-counts", figure, f"Bar chart of samples a class. {said}.", caption, title="Samples of each class"
    )
