"""The report as one HTML file that needs nothing else: charts inline, nothing to fetch, no way to fetch it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from u2a.report.baselines import labels_of
from u2a.report.drawing.style import Chart, to_svg
from u2a.report.tables import class_is_lower, pattern_label, worst_first, worst_loss, worst_missing

MINUS = "\N{MINUS SIGN}"
#: Forms of scores that are averages over classes.
AVERAGED = ("class_f1", "class_precision")
HERE = Path(__file__).parent / "page"
SECTIONS = {
    "availability": ("availability",),
    "contributions": ("contributions", "interactions"),
    "classes": ("classes-", "contributions-by-class"),
    "mistakes": ("confusion",),
    "training": ("training-", "class-counts"),
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
    environment.filters |= {"percent": percent, "points": points, "tenths": tenths, "places": places}
    calibrated = (report["calibrated"] or [{}])[0]
    environment.filters |= {"pattern": partial(_name_of, report["data"]["never"]), "amount": amount}
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        report=report,
        charts={section: _of(section, charts) for section in SECTIONS},
        worst_first=worst_first(report),
        worst_loss=worst_loss,
        worst_missing=worst_missing,
        class_is_lower=class_is_lower,
        lead=lead(report),
        glance=glance(report),
        constant=report["constant"] and report["constant"]["score"],
        in_use=in_use(report),
        rule=rule(report),
        averages=averages(report["metric"]),
        fitted=[name for name in report["metric"]["labels"] if f"{name}_fitted" in calibrated],
        of_seeds=of_seeds(report),
        of_first=of_first(report),
        baseline_labels=labels_of(report["baselines"]["patterns"]) if report["baselines"] else {},
        baseline_metric=baseline_metric(report),
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
    """A number of points without a plus: ``3.1``; a true minus."""
    return "n/a" if value is None else f"{value:.1f}".replace("-", MINUS) if round(10 * value) else "0.0"


def points(value: float | None) -> str:
    """A difference of scores in points, with its sign; a true minus."""
    if value is None:
        return "n/a"
    return f"{100 * value:+.1f}".replace("-", MINUS) if round(1000 * value) else "0.0"


def amount(value: float) -> str:
    """A count, or a mean of counts over seeds."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def glance(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The first screen's rows: complete, and each modality missing by itself."""
    metric, names = report["metric"]["name"], report["modalities"]
    sign = 1 if report["metric"]["higher_is_better"] else -1
    known = [row for row in report["patterns"] if row["scores"][metric] is not None and len(row["missing"]) < 2]
    chosen = sorted(known, key=lambda row: (len(row["missing"]), sign * row["difference"]))
    return [
        {
            "label": _name_of(report["data"]["never"], row["missing"], names),
            "score": row["scores"][metric],
            "interval": row["interval"],
            "difference": row["difference"] if row["missing"] else None,
            "beyond_chance": row["beyond_chance"],
        }
        for row in chosen
    ]


def in_use(report: dict[str, Any]) -> dict[str, Any] | None:
    """What the calculator works with, its patterns by name."""
    found, names = report["in_use"], report["modalities"]
    if found is None or report["headline"]["complete"] is None:
        return None
    named = [pattern | {"name": pattern_label(pattern["missing"], names)} for pattern in found["patterns"]]
    return found | {"patterns": named}


def places(value: float | None) -> str:
    """A number without a unit: ``0.123``."""
    return "n/a" if value is None else f"{value:.3f}".replace("-", MINUS)


def rule(report: dict[str, Any]) -> str:
    """What colours a difference, in a sentence."""
    seeds = "other test samples and other seeds" if report["over_seeds"] else "other test samples"
    text = (
        "Their 95 % intervals hold for all rows together; a difference is coloured where its interval says "
        f"that the score is worse, allowing for {seeds}"
    )
    return text + ("." if report["over_seeds"] else "; other seeds of the training are not covered.")


def of_seeds(report: dict[str, Any]) -> str:
    """Marks what is a mean over runs."""
    return f"Mean of {report['over_seeds']['n']} seeds. " if report["over_seeds"] else ""


def averages(metric: dict[str, Any]) -> str | None:
    """How classes enter the score, where they are averaged."""
    mean = f"{_capital(metric['label'])} is the mean over the classes that occur in the samples scored."
    return mean if metric["form"] in AVERAGED else None


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def baseline_metric(report: dict[str, Any]) -> str:
    """What the table of baselines shows."""
    name = report["baselines"]["metric"] if report["baselines"] else report["metric"]["name"]
    return _capital(report["metric"]["labels"][name])


def of_first(report: dict[str, Any]) -> str:
    """Marks what is of one run where others are means of several."""
    return f"Of the first run (seed {report['runs'][0]['seed']}). " if report["over_seeds"] else ""


def lead(report: dict[str, Any]) -> str:
    """The finding in a sentence: a loss is called a cost, a gain a gain, and what chance could do is said."""
    if report["headline"]["complete"] is None:
        n, split = report["data"]["n"], report["data"]["split"]
        return f"{_capital(report['metric']['label'])} is not defined on the {n:,} samples of split {split}."
    label, over = report["metric"]["label"], report["over_seeds"]
    single = [row for row in report["patterns"] if len(row["missing"]) == 1]
    known = [row for row in single if row["difference"] is not None]
    mean = f" (mean of {over['n']} seeds)" if over else ""
    if not known:
        never = report["data"]["never"]
        of_one = not single and not never
        what = "One modality" if of_one else _capital(_name_of(never, (), report["modalities"]))
        return f"{what}: {label} {percent(report['headline']['complete'])} %{mean}."
    sign = 1 if report["metric"]["higher_is_better"] else -1
    costly = min(known, key=lambda row: sign * row["difference"])
    cheap = max(known, key=lambda row: sign * row["difference"])
    if _lost(costly, sign) <= 0:
        change = f"{label} goes {_change(costly)} without {_name(costly)}"
        return f"Losing no single modality costs anything: {change}{mean}."
    text = f"Losing {_name(costly)} costs most: {label} goes {_change(costly)}"
    text += "" if costly["beyond_chance"] else ", which chance could do"
    if cheap is not costly:
        loses = _lost(cheap, sign) > 0
        text += (
            f"; losing {_name(cheap)} " + ("costs least" if loses else "costs nothing") + f": {_change(cheap)}"
        )
    return f"{text}{mean}."


def _lost(row: dict[str, Any], sign: int) -> int:
    """Tenths of a point, as they are shown."""
    return round(-1000 * sign * row["difference"])


def _name_of(never: Sequence[str], missing: Sequence[str], names: Sequence[str]) -> str:
    """A pattern's label; what no sample has is missing in each."""
    return pattern_label([name for name in names if name in missing or name in never], names)


def _name(row: dict[str, Any]) -> str:
    return str(row["missing"][0])


def _change(row: dict[str, Any]) -> str:
    return f"from {percent(row['complete'])} to {percent(row['scores'][_metric(row)])} %"


def _metric(row: dict[str, Any]) -> str:
    return next(iter(row["scores"]))
