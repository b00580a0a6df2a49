"""The report's charts, each drawn from the report's plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from u2a.report.drawing.grids import class_contributions, contributions, interactions, rates, tokens
from u2a.report.drawing.style import (
    CARD,
    INK,
    MARKERS,
    MOST,
    MUTED,
    Chart,
    colour,
    name_rows,
    new_axes,
    of_all,
    short,
)


def draw_charts(report: dict[str, Any]) -> list[Chart]:
    """All charts that the report has values for, in the page's order; call within `style.chart_style`."""
    charts = [availability(report), contributions(report)] if report["availability"] else []
    charts += [interactions(report)] if report["contributions"]["pairs"] else []
    charts += [class_contributions(report)]
    charts += [classes(report, number) for number in range(len(_missing(report)))]
    charts += [tokens(report)] if len(report["modalities"]) > 1 else []
    charts += [calibration(report, number) for number in range(len(report["calibration"]))]
    return charts + ([rates(report)] if report["rates"] else [])


def availability(report: dict[str, Any]) -> Chart:
    """Fig. 2: the headline score against the share of samples that keep a modality."""
    label, over = report["metric"]["label"], report["over_seeds"]
    figure, axes = new_axes("When a modality becomes rare")
    said = []
    for number, curve in enumerate(report["availability"]):
        x, y = 100 * np.array(curve["shares"]), 100 * np.array(curve["scores"])
        low, high = 100 * np.array(curve["interval"], dtype=float).T
        axes.fill_between(x, low, high, color=colour(number), alpha=0.13, linewidth=0)
        name = short(curve["modality"])
        axes.plot(x, y, color=colour(number), marker=MARKERS[number % 6], markersize=4, label=name)
        said.append(f"{name}: {y[0]:.1f} at 0 %, {y[-1]:.1f} at 100 %")
    axes.set_xlabel("keep the modality (% of the samples that have it)")
    axes.set_ylabel(f"{label} (%)")
    axes.set_xticks(range(0, 101, 20))
    axes.legend(title=None, loc="best")
    alt = f"Line chart of {label} against the share of samples that keep a modality. " + "; ".join(said) + "."
    caption = (
        "One line a modality: the expected score where all samples keep the others, and x % of those that "
        "have this one keep it, whichever they are. Flat is robust. Band: 95 % interval of each point, over "
        "other test samples"
    )
    caption += f" and other seeds (mean of {over['n']})." if over else "; other seeds are not covered."
    return Chart("availability", figure, alt, caption)


def classes(report: dict[str, Any], number: int) -> Chart:
    """Figs. 3, 5 and 6: the worst classes with one modality missing."""
    name = _missing(report)[number]
    rows = [row for row in report["classes"] if row["missing"][name] is not None]
    rows = sorted(rows, key=lambda row: row["missing"][name] - row["complete_beside"][name])[:MOST]
    figure, axes = new_axes(f"Without {short(name)}, by class", height=1.25 + 0.235 * max(4, len(rows)))
    places = np.arange(len(rows))
    complete, filled, zeros = (
        [100 * value for value in values]
        for values in (
            [row["complete_beside"][name] for row in rows],
            [row["missing"][name] for row in rows],
            [row["missing_without_mask_tokens"][name] for row in rows],
        )
    )
    axes.hlines(places, filled, complete, color=colour(number), alpha=0.35, linewidth=3)
    axes.plot(complete, places, "|", color=INK, markersize=9, markeredgewidth=1.8, label="complete")
    axes.plot(zeros, places, "o", color=MUTED, markerfacecolor=CARD, markersize=5, label="zeros instead")
    axes.plot(filled, places, MARKERS[number % 6], color=colour(number), markersize=5, label="mask tokens")
    name_rows(axes, [short(row["class"]) for row in rows])
    axes.set_xlabel(f"{report['metric']['class_label']} (%)")
    axes.set_xlim(-3, 103)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    said = "; ".join(
        f"{short(r['class'])} {c:.0f} to {f:.0f}" for r, c, f in zip(rows, complete, filled, strict=True)
    )
    alt = f"{report['metric']['class_label']} in percent, complete to without {name}, worst first: {said}."
    caption = (
        "The line leads from the complete score (tick) to that without the modality (coloured): to the left is "
        "a loss, to the right a gain; the largest loss comes first. Hollow: zeros in place of mask tokens."
    ) + of_all(report)
    return Chart(f"classes-{number}", figure, alt, caption)


def calibration(report: dict[str, Any], number: int) -> Chart:
    """Reliability curve of one scenario."""
    row = report["calibration"][number]
    title = f"without {short(row['missing'], 16)}" if row["missing"] else "complete"
    figure, axes = new_axes(title, width=2.7, height=2.75)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    x, y = ([100 * b[part] for b in row["bins"]] for part in ("confidence", "outcome"))
    share = np.array([b["count"] for b in row["bins"]]) / max(1, sum(b["count"] for b in row["bins"]))
    drawn = INK if row["missing"] is None else colour(report["modalities"].index(row["missing"]))
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
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", color=INK, fontsize=8)
    alt = (
        f"Reliability curve, {title}: Brier score {brier:.3f}; expected calibration error "
        f"{100 * row['ece']:.1f} percent, "
        f"where a calibrated model of the same confidences would show {100 * calibrated:.1f}."
    )
    return Chart(f"calibration-{number}", figure, alt, "", "small")


def _missing(report: dict[str, Any]) -> list[str]:
    """The modalities whose absence was scored."""
    return [row["modality"] for row in report["availability"]]
