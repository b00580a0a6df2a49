"""The report as one HTML file that needs nothing else: charts inline, nothing to fetch, no way to fetch it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from u2a.report.drawing.style import Chart, to_svg
from u2a.report.tables import worst_first, worst_loss

HERE = Path(__file__).parent / "page"
SECTIONS = {
    "availability": ("availability",),
    "contributions": ("contributions", "interactions"),
    "classes": ("classes-", "contributions-by-class"),
    "tokens": ("tokens",),
    "calibration": ("calibration-",),
    "rates": ("rates",),
}


def render(report: dict[str, Any], charts: list[Chart]) -> str:
    """The page; call within `u2a.report.drawing.style.chart_style`.

    Everything in `report` is untrusted text to the template, which escapes it; a content security policy
    forbids the page to load or run anything that is not in it.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "" if value is None else value,
    )
    environment.filters |= {"percent": percent, "points": points, "tenths": tenths}
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        report=report,
        charts={section: _of(section, charts) for section in SECTIONS},
        worst_first=worst_first(report),
        worst_loss=worst_loss,
        lead=lead(report),
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
    )


def _of(section: str, charts: list[Chart]) -> list[dict[str, Any]]:
    return [
        {"chart": chart, "svg": Markup(to_svg(chart))}
        for start in SECTIONS[section]
        for chart in charts
        if chart.name == start or (start.endswith("-") and chart.name.startswith(start))
    ]


def percent(value: float | None) -> str:
    """A score as a person reads it: ``84.3``."""
    return "n/a" if value is None else f"{100 * value:.1f}"


def tenths(value: float | None) -> str:
    """A number of points without a sign: ``3.1``."""
    return "n/a" if value is None else f"{value:.1f}"


def points(value: float | None) -> str:
    """A difference of scores in points, with its sign; a true minus."""
    if value is None:
        return "n/a"
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}") if round(1000 * value) else "0.0"


def lead(report: dict[str, Any]) -> str:
    """The finding in a sentence."""
    label = report["metric"]["label"]
    single = [row for row in report["patterns"] if len(row["missing"]) == 1]
    known = [row for row in single if row["difference"] is not None]
    if not known:
        what = "Complete" if single else "One modality"
        return f"{what}: {label} {percent(report['headline']['complete'])} %."
    sign = 1 if report["metric"]["higher_is_better"] else -1
    costly = min(known, key=lambda row: sign * row["difference"])
    cheap = max(known, key=lambda row: sign * row["difference"])
    text = f"Losing {costly['missing'][0]} costs most: {label} goes {_change(costly)}"
    if cheap is not costly:
        text += f"; losing {cheap['missing'][0]} costs least: {_change(cheap)}"
    return text + "."


def _change(row: dict[str, Any]) -> str:
    return f"from {percent(row['complete'])} to {percent(row['scores'][_metric(row)])} %"


def _metric(row: dict[str, Any]) -> str:
    return next(iter(row["scores"]))
