"""Charts that are bars or coloured tables: contributions, mask tokens, rates."""

from __future__ import annotations

from collections.abc import Callable
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
    NARROW,
    WIDE,
    Chart,
    name_rows,
    new_axes,
    of_all,
    short,
)
from u2a.report.tables import worst_first


def contributions(report: dict[str, Any]) -> Chart:
    """Shapley values with intervals."""
    rows = [(short(name), row) for name, row in report["contributions"]["values"].items()]
    title = "What each modality contributes"
    chart = _bars("contributions", rows, report["metric"], "Shapley value")
    caption = (
        "The bars add up to the complete score minus the score with no modality at all. "
        "Blue helps, orange hurts. Lines: 95 % interval of each bar alone."
    )
    return replace(chart, caption=caption, title=title)


def interactions(report: dict[str, Any]) -> Chart:
    """Shapley interaction index of each pair."""
    rows = [(" + ".join(map(short, row["pair"])), row) for row in report["contributions"]["pairs"]]
    title = "Which pairs complement or repeat each other"
    chart = _bars("interactions", rows, report["metric"], "interaction", (MUTED, MUTED))
    more, same = ("Right", "Left") if report["metric"]["higher_is_better"] else ("Left", "Right")
    caption = f"{more} of zero: the pair tells more than its two members alone. {same}: they tell the same."
    return replace(chart, caption=caption, title=title)


def _bars(
    name: str,
    rows: list[tuple[str, dict[str, Any]]],
    metric: dict[str, Any],
    what: str,
    colours: tuple[str, str] = (GOOD, BAD),
) -> Chart:
    """A bar a row, painted by whether it makes the score better or worse."""
    unit, sign = f"{what} (points of {metric['label']})", 1 if metric["higher_is_better"] else -1
    figure, axes = new_axes(height=0.95 + 0.34 * max(3, len(rows)))
    for place, (_, row) in enumerate(rows):
        value, (low, high) = 100 * row["value"], (100 * x for x in row["interval"])
        axes.barh(place, value, height=0.58, color=colours[sign * value < 0], alpha=0.75, linewidth=0)
        axes.plot([low, high], [place, place], color=INK, linewidth=1.1)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.axvline(0, color=MUTED, linewidth=0.8)
    name_rows(axes, [label for label, _ in rows])
    axes.set_xlabel(unit)
    said = "; ".join(f"{label} {100 * row['value']:+.1f}" for label, row in rows)
    return Chart(name, figure, f"Bar chart, {unit}: {said}.")


def class_contributions(report: dict[str, Any]) -> Chart:
    """Shapley values by class as a coloured table."""
    names = report["modalities"]
    order = [row["class"] for row in worst_first(report)][:MOST]
    values = [[100 * report["contributions"]["classes"][c][m] for m in names] for c in order]
    chart = grid(
        "contributions-by-class",
        "Contribution by class",
        [short(c) for c in order],
        [short(m, 12) for m in names],
        values,
        f"points of {report['metric']['class_label']}",
        _signed,
    )
    caption = (
        "Shapley value of each modality for each class: blue helps, orange hurts; without intervals."
        + of_all(report)
    )
    return replace(chart, caption=caption)


def tokens(report: dict[str, Any]) -> Chart:
    """Fig. 4: MSE of mask token against class token by class and direction."""
    rows = [row for row in report["tokens"] if row["mse"] is not None]
    names = report["classes_of_task"]
    mean = [
        np.mean([r["class_mse"][c] for r in rows if r["class_mse"][c] is not None] or [-1])
        for c in range(len(names))
    ]
    order = [c for c in np.argsort(mean)[::-1] if mean[c] >= 0][:MOST]
    values = [[row["mse"] for row in rows]]
    values += [[np.nan if r["class_mse"][c] is None else r["class_mse"][c] for r in rows] for c in order]
    wide = len(rows) > 4
    chart = grid(
        "tokens",
        "Mask token and class token",
        ["all classes", *(short(names[c]) for c in order)],
        [f"{short(r['source'], 10)} → {short(r['target'], 10)}" for r in rows],
        values,
        "mean squared error",
        _two_digits,
        width=WIDE if wide else NARROW,
    )
    caption = "a → b: a's mask token stands in for b. Pale is near, strong is far; worst classes first."
    return replace(chart, caption=caption + of_all(report), size="wide" if wide else "narrow")


def rates(report: dict[str, Any]) -> Chart:
    """Table 6: trained at one missing rate, tested at another."""
    found = {(cell["trained"], cell["tested"]): cell for cell in report["rates"]["cells"]}
    trained, tested = report["rates"]["trained"], report["rates"]["tested"]
    values = [[100 * found[a, b]["mean"] for b in tested] for a in trained]
    deviations = [[found[a, b].get("sd") for b in tested] for a in trained]
    notes = [["" if sd is None else f" ± {100 * sd:.1f}" for sd in row] for row in deviations]
    label = f"{report['metric']['label']} (%)"
    chart = grid("rates", "", trained, tested, values, label, "{:.1f}".format, notes=notes)
    axes = chart.figure.axes[0]
    axes.set_ylabel("missing in training")
    axes.set_xlabel("missing in the test")
    better = "Strong" if report["metric"]["higher_is_better"] else "Pale"
    caption = f"Rows: what training samples lacked. Columns: what test samples lack. {better} is better."
    caption += " ±: standard deviation over seeds." if any(any(row) for row in notes) else ""
    return replace(chart, caption=caption)


def grid(
    name: str,
    title: str,
    rows: list[str],
    columns: list[str],
    values: list[list[float]],
    unit: str,
    form: Callable[[float], str],
    *,
    width: float = NARROW,
    notes: list[list[str]] | None = None,
) -> Chart:
    """A table whose cells are coloured the more strongly, the larger their values; negative ones otherwise."""
    crowded = len(columns) > 4
    figure, axes = new_axes(width, height=0.7 + 0.25 * max(3, len(rows)) + (0.5 if crowded else 0))
    finite = [abs(v) for row in values for v in row if np.isfinite(v)]
    floor = min(finite, default=0) if all(v >= 0 for row in values for v in row if np.isfinite(v)) else 0
    span = max(finite, default=1) - floor or 1
    for r, row in enumerate(values):
        for c, value in enumerate(row):
            strength = 0.06 + 0.5 * (abs(value) - floor) / span if np.isfinite(value) else 0
            fill = GOOD if value >= 0 or not np.isfinite(value) else BAD
            axes.add_patch(Rectangle((c - 0.48, r - 0.46), 0.96, 0.92, color=fill, alpha=strength, linewidth=0))
            text = form(value) + (notes[r][c] if notes else "") if np.isfinite(value) else "-"
            axes.text(c, r, text, ha="center", va="center", fontsize=8.5)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_xticks(
        range(len(columns)), columns, rotation=35 if crowded else 0, ha="right" if crowded else "center"
    )
    name_rows(axes, rows)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    said = "; ".join(
        f"{label}: " + ", ".join(f"{column} {form(v)}" for column, v in zip(columns, row, strict=True))
        for label, row in zip(rows, values, strict=True)
    )
    alt = f"Table of {unit}. {said}."
    return Chart(name, figure, alt, title=f"{title} ({unit})" if title else f"{unit[0].upper()}{unit[1:]}")


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 9.5 else f"{value:#.2g}"


def _signed(value: float) -> str:
    return f"{value:+.0f}".replace("-", "\N{MINUS SIGN}") if round(value) else "0"
