"""From runs to a folder with the page, its values and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from u2a.common.files import without_nan, write_text
from u2a.report.build import build_report
from u2a.report.drawing.figures import draw_charts
from u2a.report.drawing.style import chart_style, save_figures
from u2a.report.page import render
from u2a.report.tables import without_tiles, write_tables
from u2a.runs.folder import find_run


def write_report(
    runs: Sequence[str | None] = (),
    *,
    out: Path | None = None,
    figures: Path | None = None,
    split: str = "test",
    checkpoint: str = "best",
    sets: Sequence[str] = (),
    seed: int = 0,
    beside_baselines: bool = False,
    with_samples: bool = True,
) -> Path:
    """Write ``report.html``, ``report.json`` and CSV files; the same runs give the same bytes.

    Args:
        runs: run folders, the first one's recipe told in detail; the newest run if there are none.
        out: the folder; ``report`` in the first run's if None.
        beside_baselines: score baselines on the first run's frozen encoders, too.
        with_samples: show the samples of the surest mistakes on the page.
        figures: where to save the charts as PNG and PDF, too.

    Returns:
        The page's path.
    """
    first = find_run(runs[0] if runs else None)
    folder = out or first.folder / "report"
    found = build_report(
        runs or [str(first)],
        split=split,
        checkpoint=checkpoint,
        sets=sets,
        seed=seed,
        beside_baselines=beside_baselines,
        with_samples=with_samples,
        say=_say,
    )
    report = without_nan(found)
    folder.mkdir(parents=True, exist_ok=True)
    with chart_style():
        charts = draw_charts(found)  # a chart leaves out what is NaN
        page = render(report, charts)
        if figures:
            save_figures(charts, figures)
    write_tables(without_tiles(report), folder)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _say(line: str) -> None:
    click.echo(line, err=True)
