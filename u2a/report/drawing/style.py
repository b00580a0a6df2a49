"""How charts look, and how they become SVG in a page that may be light or dark, or files for a paper."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Colours as charts are drawn with, and the style sheet's variables that replace them in the page.
INK, MUTED, GRID, CARD, GOOD, BAD = "#1d2531", "#5b6574", "#d8dde5", "#fefefe", "#2060b1", "#b9480e"
#: A modality keeps its colour in every chart; none is that of help (blue) or harm (orange).
SERIES = ("#0b7285", "#7048c6", "#8a6100", "#b3256b", "#4c7410", "#56627a")
MARKERS = ("o", "s", "^", "D", "v", "P")
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    CARD: "--card",
    GOOD: "--good",
    BAD: "--bad",
    **{colour: f"--s{number}" for number, colour in enumerate(SERIES, 1)},
}
NARROW, WIDE = 4.2, 9.0
#: Charts show this many classes; the tables show all.
MOST = 20
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Chart:
    """A figure with what a reader needs who cannot see it, and how to read it."""

    name: str
    figure: Figure
    alt: str
    caption: str = ""
    size: str = "narrow"
    title: str = ""


@contextmanager
def chart_style() -> Iterator[None]:
    """matplotlib's settings for every chart: drawn and saved inside."""
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "u2a",
        "pdf.fonttype": 42,
        "text.parse_math": False,  # names are data: "$" is a dollar sign
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "text.color": INK,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A script that the drawing font lacks: pages hold text as text and use the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_axes(width: float = NARROW, height: float = 2.9) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, sizes in inches; its title is the page's, as text."""
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def colour(number: int) -> str:
    """The colour of the n-th series."""
    return SERIES[number % len(SERIES)]


def colour_of(report: dict[str, Any], modality: str) -> str:
    """The modality's colour, the same in every chart."""
    return colour(report["modalities"].index(modality))


def constant_line(axes: Axes, report: dict[str, Any]) -> str:
    """A dotted line at what the same answer to every sample scores; what a caption says of it.

    Far away it would press the curves together: then the caption alone has it.
    """
    found = report.get("constant")
    if not found or found["score"] is None or np.isnan(found["score"]):
        return ""
    value, (low, high) = 100 * found["score"], axes.get_ylim()
    said = f"{found['answer']}, {value:.1f} %"
    if not low - (high - low) <= value <= high + (high - low):
        return f" For comparison, off the chart: {said}."
    axes.axhline(value, color=MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    return f" Dotted: {said}."


def short(text: str, limit: int = 22) -> str:
    """A name as a chart shows it: no control characters, not too long."""
    clean = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return clean if len(clean) <= limit else clean[: limit - 1].rstrip() + "…"


def name_rows(axes: Axes, names: list[str]) -> None:
    """Rows from the top, with their names."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", colors=INK)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def of_all(report: dict[str, Any]) -> str:
    """How many of the classes a chart shows, where it does not show all."""
    n = len(report["classes"])
    return f" The {MOST} worst of {n} classes; the table has all." if n > MOST else ""


def to_svg(chart: Chart) -> str:
    """A chart for the page: colours are the page's variables, ids are the chart's own, no file header."""
    stream = io.StringIO()
    chart.figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{chart.name}-", svg)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda m: _variable(m[0]), svg)
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" xmlns:xlink="x">', svg, count=1)


def _variable(colour: str) -> str:
    return f"var({VARIABLES[colour]})" if colour in VARIABLES else colour


def save_figures(charts: list[Chart], folder: Path) -> None:
    """Every chart as PNG (200 dots an inch) and PDF, on white."""
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        file = folder / chart.name
        chart.figure.savefig(file.with_suffix(".png"), dpi=200, facecolor="white", metadata={"Software": None})
        chart.figure.savefig(file.with_suffix(".pdf"), facecolor="white", metadata={"CreationDate": None})
