"""The report's charts, each drawn from the report's plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from u2a.report.drawing.grids import class_contributions, contributions, interactions, rates, tokens
from u2a.report.drawing.learning import confusion, training
from u2a.report.drawing.style import (
    INK,
    MARKERS,
    MOST,
    MUTED,
    Chart,
    colour_of,
    constant_line,
    name_rows,
    new_axes,
    of_all,
    short,
)
from u2a.report.tables import worst_first


def draw_charts(report: dict[str, Any]) -> list[Chart]:
    """All charts that the report has values for, in the page's order; call within `style.chart_style`."""
    charts: list[Chart] = []
    if report["availability"] and not np.isnan(report["headline"]["complete"]):
        charts += [availability(report), contributions(report)]
        charts += [interactions(report)] if report["contributions"]["pairs"] else []
    if report["classes"]:
        charts += [class_contributions(report)]
        charts += [classes(report, number) for number in range(len(_missing(report)))]
    charts += [confusion(report)] if report["confusion"] else []
    charts += training(report)
    charts += [tokens(report)] if any(row["mse"] is not None for row in report["tokens"]) else []
    charts += [calibration(report, number) for number in range(len(report["calibration"]))]
    return charts + ([rates(report)] if report["rates"] else [])


def availability(report: dict[str, Any]) -> Chart:
    """Fig. 2: the headline score against the share of samples that keep a modality."""
    label, over = report["metric"]["label"], report["over_seeds"]
    figure, axes = new_axes(height=3.1)
    said = []
    for number, curve in enumerate(report["availability"]):
        x, y = 100 * np.array(curve["shares"]), 100 * np.array(curve["scores"])
        low, high = 100 * np.array(curve["interval"], dtype=float).T
        own, name = colour_of(report, curve["modality"]), short(curve["modality"])
        axes.fill_between(x, low, high, color=own, alpha=0.13, linewidth=0)
        axes.plot(x, y, color=own, marker=MARKERS[number % 6], markersize=4, label=name)
        said.append(f"{name}: {y[0]:.1f} at 0 %, {y[-1]:.1f} at 100 %")
    axes.set_xlabel("keep the modality (% of the samples that have it)")
    axes.set_ylabel(f"{label} (%)")
    axes.set_xticks(range(0, 101, 20))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    alt = f"Line chart of {label} against the share of samples that keep a modality. " + "; ".join(said) + "."
    caption = (
        "One line a modality: the expected score where all samples keep the others, and x % of those that "
        "have this one keep it, whichever they are. Flat is robust. Band: 95 % interval of each point, over "
        "other test samples"
    )
    caption += f" and other seeds (mean of {over['n']})." if over else "; other seeds are not covered."
    return Chart("availability", figure, alt, caption + constant_line(axes, report))


def classes(report: dict[str, Any], number: int) -> Chart:
    """Figs. 3, 5 and 6: the worst classes with one modality missing."""
    name = _missing(report)[number]
    rows = [row for row in worst_first(report)[:MOST] if row["missing"][name] is not None]
    figure, axes = new_axes(height=1.0 + 0.235 * max(4, len(rows)))
    own = colour_of(report, name)
    places = np.arange(len(rows))
    complete, filled, zeros = (
        [100 * value for value in values]
        for values in (
            [row["complete_beside"][name] for row in rows],
            [row["missing"][name] for row in rows],
            [row["missing_without_mask_tokens"][name] for row in rows],
        )
    )
    axes.hlines(places, filled, complete, color=own, alpha=0.35, linewidth=3)
    low, high = np.array([_ends(row, name) for row in rows], dtype=float).reshape(-1, 2).T
    axes.hlines(places, low, high, color=own, alpha=0.55, linewidth=0.8)
    axes.plot(complete, places, "|", color=INK, markersize=9, markeredgewidth=1.8, label="complete")
    axes.plot(filled, places, MARKERS[number % 6], color=own, markersize=4.5, label="mask tokens")
    axes.plot(zeros, places, "o", color=MUTED, markerfacecolor="none", markersize=8.5, label="zeros instead")
    name_rows(axes, [f"{short(row['class'], 18)} ({row['n']:,})" for row in rows])
    axes.set_xlabel(f"{report['metric']['class_label']} (%)")
    axes.set_xlim(-3, 103)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    said = "; ".join(
        f"{short(r['class'])} {c:.0f} to {f:.0f}" for r, c, f in zip(rows, complete, filled, strict=True)
    )
    alt = (
        f"{report['metric']['class_label']} in percent, complete to without {name}, the table's order: {said}."
    )
    caption = (
        "The thick line leads from the complete score (tick) to that without the modality (coloured): to the "
        "left is a loss, to the right a gain. Thin: its 95 % interval, all classes and modalities together. "
        "Ring: zeros in place of mask tokens. In brackets the samples; the order is the table's, the same in "
        "each chart."
    ) + of_all(report)
    caption = caption if number == 0 else ""  # they are read alike
    return Chart(f"classes-{number}", figure, alt, caption, title=f"Without {short(name)}")


def _ends(row: dict[str, Any], name: str) -> list[float]:
    """Of the interval of a class's score without the modality, in percent, from that of its change."""
    low, high = (np.nan if end is None else end for end in row["change_interval"][name])
    return [100 * float(np.clip(row["complete_beside"][name] + end, 0, 1)) for end in (low, high)]


def calibration(report: dict[str, Any], number: int) -> Chart:
    """Reliability curve of one scenario."""
    row = report["calibration"][number]
    title = f"Without {short(row['missing'], 16)}" if row["missing"] else "Complete"
    figure, axes = new_axes(width=2.7, height=2.6)
    bins = merged(row["bins"])
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    x, y = ([100 * b[part] for b in bins] for part in ("confidence", "outcome"))
    share = np.array([b["count"] for b in bins]) / max(1, sum(b["count"] for b in bins))
    drawn = INK if row["missing"] is None else colour_of(report, row["missing"])
    axes.plot(x, y, color=drawn, linewidth=1.2)
    axes.scatter(x, y, s=8 + 180 * share, color=drawn, alpha=0.8, linewidth=0)
    axes.set(
        xlim=(0, 100),
        ylim=(0, 100),
        xlabel="confidence (%)",
        ylabel="has the label (%)" if report["task"] == "multi_label" else "right (%)",
    )
    axes.set_xticks([0, 50, 100])
    axes.set_yticks([0, 50, 100])
    for artist in axes.collections:
        artist.set_clip_on(False)
    brier, calibrated = row["brier"]["value"], row["ece_calibrated"]
    text = f"Brier {brier:.3f}\nECE {100 * row['ece']:.1f} %\nif calibrated {100 * calibrated:.1f} %"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", color=INK, fontsize=8.5)
    alt = (
        f"Reliability curve, {title.lower()}: Brier score {brier:.3f}; expected calibration error "
        f"{100 * row['ece']:.1f} percent, "
        f"where a calibrated model of the same confidences would show {100 * calibrated:.1f}."
    )
    return Chart(f"calibration-{number}", figure, alt, "", "small", title)


def merged(bins: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Neighbours together until each dot holds a twentieth of the cases, and five: fewer tell of chance."""
    least, found = max(5, sum(b["count"] for b in bins) / 20), list[dict[str, float]]()
    for b in bins:
        if found and found[-1]["count"] < least:
            found[-1] = _both(found[-1], b)
        else:
            found.append(b)
    if len(found) > 1 and found[-1]["count"] < least:
        found[-2:] = [_both(*found[-2:])]
    return found


def _both(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    n = a["count"] + b["count"]
    means = {part: (a[part] * a["count"] + b[part] * b["count"]) / n for part in ("confidence", "outcome")}
    return {**means, "count": n}


def _missing(report: dict[str, Any]) -> list[str]:
    """The modalities whose absence was scored."""
    return [row["modality"] for row in report["availability"]]
