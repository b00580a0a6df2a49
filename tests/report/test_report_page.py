"""The report's page in a real browser: nothing fetched, nothing wrong, sorts, fits phone and desktop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import four
import numpy as np
import pytest
import torch
from tasks import make_task

from u2a.report.page import render
from u2a.report.tables import pattern_label
from u2a.report.values.expected import expected, model_of_use
from u2a.report.values.mixing import Mix
from u2a.report.values.patterns import PatternValues
from u2a.report.values.predictions import Predictions
from u2a.report.values.pseudovalues import on
from u2a.report.write import write_report

CHARTS = [
    "availability",
    "contributions",
    "interactions",
    *(f"classes-{m}" for m in range(4)),
    "contributions-by-class",
    "tokens",
    *(f"calibration-{m}" for m in range(5)),
    "confusion",
    "training-loss",
    "class-counts",
    "rates",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    root = tmp_path_factory.mktemp("page")
    recipe = four.make(root, checkpoints)
    runs = [
        str(four.train(recipe, root / "seed-0")),
        str(four.train(recipe, root / "seed-1", "seed=1")),
        str(four.train(recipe, root / "masked", "data.missing.rate=0.5")),
    ]
    return write_report(runs, out=root / "out", figures=root / "figures").parent


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    """The opened page; afterwards, what it said on the console and what it asked for are checked."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened, said, asked = context.new_page(), [], []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    address = (folder / "report.html").as_uri()
    opened.goto(address)
    yield opened
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_phone_and_desktop_without_scrolling_sideways(page: Any, width: int, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.body.scrollWidth") <= width


def test_every_chart_is_drawn_with_alternative_text(page: Any):
    figures = page.query_selector_all("figure:not(.tile)")
    assert sorted(figure.get_attribute("id") for figure in figures) == sorted(f"figure-{c}" for c in CHARTS)
    for figure in figures:
        assert len(figure.query_selector("[role=img]").get_attribute("aria-label")) > 20
        box = figure.query_selector("svg").bounding_box()
        assert box["width"] > 150
        assert box["height"] > 80
        assert figure.query_selector_all("svg path, svg text")


def test_ids_are_unique_and_every_reference_inside_charts_resolves(page: Any):
    assert page.evaluate("""() => {
        const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
        const all = (selector, name) => [...document.querySelectorAll(selector)].map(e => e.getAttribute(name));
        const uses = all("use", "xlink:href").map(link => link.slice(1));
        const clips = all("[clip-path]", "clip-path").map(link => link.slice(5, -1));
        return [ids.length - new Set(ids).size, uses.length > 0 && clips.length > 0,
                [...uses, ...clips].filter(id => !document.getElementById(id)).length];
    }""") == [0, True, 0]


def test_text_and_lines_are_legible_in_light_and_dark(page: Any):
    """Contrast of text in charts and tables against the card they are on: at least 4.5 (WCAG AA)."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        lowest = page.evaluate("""() => {
            const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
            const light = (c) => c.match(/[0-9.]+/g).slice(0, 3).map(v => linear(v / 255))
                .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0) + .05;
            const contrast = (a, b) => Math.max(light(a), light(b)) / Math.min(light(a), light(b));
            const styles = (selector) => [...document.querySelectorAll(selector)].map(e => getComputedStyle(e));
            const card = styles("section")[0].backgroundColor;
            const texts = styles("svg text").map(style => style.fill);
            const cells = styles("th, td, p, figcaption").map(style => style.color);
            return Math.min(...[...texts, ...cells].map(c => contrast(c, card)));
        }""")
        assert lowest >= 4.5, scheme


def test_tables_sort_by_a_click_and_back_by_another(page: Any):
    def column(index: int) -> list[float]:
        cells = page.query_selector_all(f"#table-classes tbody tr > :nth-child({index})")
        return [float(cell.get_attribute("data-value")) for cell in cells]

    assert column(4) == sorted(column(4), reverse=True)  # worst first, as it comes
    button = page.get_by_role("button", name="complete %")
    button.click()
    assert column(3) == sorted(column(3), reverse=True)
    header = page.query_selector("#table-classes th[aria-sort]")
    assert (header.inner_text().strip()[:8], header.get_attribute("aria-sort")) == ("complete", "descending")
    button.click()
    assert column(3) == sorted(column(3))
    page.get_by_role("button", name="class", exact=True).click()
    names = page.eval_on_selector_all("#table-classes tbody th", "cells => cells.map(c => c.textContent)")
    assert sorted(names) == sorted(four.CLASSES)
    assert page.locator("#table-classes tbody tr").count() == 4


def test_the_last_column_of_the_class_table_sorts_by_its_own_values(page: Any):
    page.locator("#table-classes button").last.click()
    values = page.eval_on_selector_all(
        "#table-classes tbody tr", "rows => rows.map(r => Number(r.cells[r.cells.length - 1].dataset.value))"
    )
    assert values == sorted(values, reverse=True)


def test_no_column_of_the_patterns_is_cut_off_on_a_desktop(page: Any):
    """Of a report over seeds, the widest there is."""
    assert (
        page.evaluate("""() => {
        const box = document.querySelector("#table-patterns").closest(".scroll");
        return box.scrollWidth - box.clientWidth;
    }""")
        <= 0
    )


def test_on_a_phone_a_pattern_has_its_name(page: Any):
    page.set_viewport_size({"width": 390, "height": 900})
    name = page.locator("#table-patterns tbody th span").nth(1)
    box = name.bounding_box()
    assert name.inner_text().startswith("without ")
    assert box["width"] > 40
    assert box["x"] < 390


def test_the_calculator_says_what_the_command_line_says(page: Any, folder: Path):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rates = dict(zip(four.MODALITIES, (0.2, 0.0, 0.45, 0.9), strict=True))
    for box, rate in zip(page.locator("#in-use input").all(), rates.values(), strict=True):
        box.fill(f"{100 * rate:g}")
    wanted = expected(report["in_use"], four.MODALITIES, rates)
    low, high = (f"{100 * bound:.1f}" for bound in wanted["interval"])
    assert page.inner_text("#in-use dt >> nth=0").lower() == "expected accuracy"
    assert page.inner_text("[data-out=score]") == f"{100 * wanted['score']:.1f}"
    assert page.inner_text("[data-out=interval]") == f"95 % interval {low} to {high}"
    assert page.inner_text("[data-out=bound]") == f"{100 * wanted['bound']:.1f}"
    assert page.inner_text("[data-out=missing]") == pattern_label(wanted["worst"]["missing"], four.MODALITIES)
    assert page.inner_text("[data-out=nothing]") == f"{100 * wanted['nothing_left']:.1f}"
    assert page.locator("#table-in-use tbody tr").count() == 15
    assert "weighted by how often each comes. No pattern" in page.inner_text("#in-use")
    page.locator("#in-use input").first.fill("120")
    assert page.inner_text("[data-out=score]") == "n/a"


@pytest.mark.parametrize("metric", ["f1_macro", "f1_micro", "map"])
@pytest.mark.parametrize("few", [False, True])
def test_the_calculator_weighs_all_samples_in_all_patterns_as_python_does(
    browser: Any, folder: Path, tmp_path: Path, metric: str, few: bool
):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    use = model_in_use(metric, 12 if few else 80)
    if metric == "map":
        assert use["few"]
    wanted = expected(use, four.MODALITIES[:2], {"left": 0.35, "right": 0.2})
    assert abs(wanted["score"] - wanted["mean_of_patterns"]) > 1e-3
    report |= {"in_use": use, "modalities": list(four.MODALITIES[:2])}
    report["metric"] = report["metric"] | {"name": "accuracy", "label": "quality"}
    (tmp_path / "page.html").write_text(render(report, []), encoding="utf-8")
    opened = browser.new_page()
    opened.goto((tmp_path / "page.html").as_uri())
    for box, rate in zip(opened.locator("#in-use input").all(), (35, 20), strict=True):
        box.fill(str(rate))
    low, high = (f"{100 * bound:.1f}" for bound in wanted["interval"])
    assert opened.inner_text("[data-out=score]") == f"{100 * wanted['score']:.1f}"
    assert opened.inner_text("[data-out=interval]") == f"95 % interval {low} to {high}"
    assert "quality of all samples together, each in every pattern as often as it comes" in opened.inner_text(
        "#in-use"
    )
    opened.close()


def model_in_use(metric: str, n: int) -> dict[str, Any]:
    """Of two seeds; the first samples have nothing left in the last pattern."""
    draw, runs, mixes = torch.Generator().manual_seed(n), [], []
    truth = (torch.rand(n, 3, generator=draw) < torch.tensor([0.6, 0.4, 0.15])).float()
    truth[0] = 1
    task = make_task(kind="multi_label", classes=tuple("abc"), metric=metric)
    used_NK = np.ones((n, 3), bool)
    used_NK[: n // 8, 2] = False
    for _ in range(2):
        logits = [s * truth + torch.randn(n, 3, generator=draw) - s / 2 for s in (3.0, 1.0, 0.5)]
        found = [Predictions.of((one * 4).round() / 4, truth, task) for one in logits]
        runs.append([])
        for k, missing in enumerate(((), ("right",), ("left",))):
            own, beside = on(used_NK[:, k], found[k]), on(used_NK[:, k], found[0])
            present, kept = tuple(name not in missing for name in ("left", "right")), int(used_NK[:, k].sum())
            runs[-1].append(PatternValues(present, missing, kept, n - kept, {metric: own.score}, own, beside))
        mixes.append(Mix.of(found, found[0].truth_NC.numpy(), used_NK, metric))
    use = model_of_use(runs, True, mix=Mix.joined(mixes))
    return use | {"mix": use["mix"].plain()}


def test_lead_cards_and_rows_of_several_seeds_are_means_over_them(page: Any, folder: Path):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    lead, metric = page.inner_text(".lead"), report["metric"]["name"]
    single = [row for row in report["patterns"] if len(row["missing"]) == 1]
    worst = min(single, key=lambda row: np.mean(row["by_seed"]) - row["complete"])
    assert f"Losing {worst['missing'][0]} " in lead or worst["difference"] >= 0
    assert lead.endswith("(mean of 2 seeds).")
    assert page.inner_text(".cards dd").startswith(f"{100 * np.mean(report['patterns'][0]['by_seed']):.1f}")
    for row, cells in zip(report["patterns"], page.locator("#table-patterns tbody tr").all(), strict=True):
        assert row["scores"][metric] == pytest.approx(np.mean(row["by_seed"]))
        assert f"{100 * np.mean(row['by_seed']):.1f}" in cells.inner_text()
    for section in ("#contributions", "#classes", "#tokens", "#calibration"):
        assert "mean of 2 seeds" in page.inner_text(section).lower()
    assert "Of the first run (seed 0)." in page.inner_text("#mistakes")  # one run's samples are shown
    for section in page.locator("main section:not(#mistakes)").all():
        assert "first run" not in section.inner_text()


def test_the_first_screen_is_the_answer_with_what_a_constant_one_scores(page: Any, folder: Path):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    rows = page.locator(".glance > div").all()
    single = [row for row in report["patterns"] if len(row["missing"]) < 2]
    assert len(rows) == len(single) == 5
    assert rows[0].inner_text().startswith("complete")
    shown = [row.locator(".value").inner_text().split()[0] for row in rows[1:]]
    order = sorted(single[1:], key=lambda row: row["difference"])
    assert shown == [f"{100 * row['scores']['accuracy']:.1f}" for row in order]
    mark = page.locator(".glance u").first.get_attribute("style")
    assert mark == f"left: {100 * report['constant']['score']:.2f}%"
    assert report["constant"] == {"score": 0.25, "answer": "always the most frequent class"}  # five of twenty
    assert page.locator("h1").bounding_box()["y"] < 100
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#patterns"


def test_mistakes_come_with_their_samples_which_the_tables_never_hold(page: Any, folder: Path):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    mistakes = report["mistakes"]["samples"]
    cards = page.locator(".samples li").all()
    assert len(cards) == len(mistakes) > 0
    for card, row in zip(cards, mistakes, strict=True):
        assert f"{100 * row['confidence']:.1f} %" in card.locator(".verdict").inner_text()
        assert card.locator(".key").inner_text() == row["key"]
        widths = card.locator("img").evaluate_all("found => found.map(e => e.naturalWidth)")
        assert len(widths) == 2  # left and right
        assert all(widths)
        assert [text.split()[:2] for text in card.locator("blockquote").all_inner_texts()] == [
            ["the", "old"]
        ] * 2
        assert "tiles" not in row
    found = [row.inner_text().split("\t")[2] for row in page.locator("#table-confusions tbody tr").all()]
    assert [float(count) for count in found] == [pair["count"] for pair in report["confusion"]["pairs"]]


def test_a_table_wider_than_the_window_says_so_until_its_end_is_seen(page: Any):
    page.set_viewport_size({"width": 390, "height": 900})
    box = page.locator(".scroll:has(#table-classes)")
    said = "e => getComputedStyle(e, '::before').content"
    page.wait_for_function("document.querySelector('.scroll:has(#table-classes)').classList.contains('more')")
    assert "scroll sideways" in box.evaluate(said)
    box.evaluate("e => { e.scrollLeft = e.scrollWidth; }")
    page.wait_for_function("!document.querySelector('.scroll:has(#table-classes)').classList.contains('more')")
    assert box.evaluate(said) == "none"


def test_class_names_are_text_not_markup(page: Any):
    assert page.locator("section b:not(.verdict b)").count() == page.locator("section .bar b").count()
    assert page.locator("#figure-classes-0 svg text", has_text="<b>boat</b>").count() == 1


def test_the_page_could_not_load_or_run_anything_else(page: Any, folder: Path):
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-inline'; script-src 'sha256-" in policy
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("<script") == 1
    sources = page.eval_on_selector_all("[src]", "found => found.map(e => e.getAttribute('src').slice(0, 5))")
    assert set(sources) == {"data:"}  # the samples' pictures


def test_print_shows_whole_tables(page: Any):
    page.emulate_media(media="print")
    assert page.evaluate("""() => [...document.querySelectorAll(".tall")].every(
        e => getComputedStyle(e).overflow === "visible" && getComputedStyle(e).maxHeight === "none")""")


def test_figures_for_a_paper_are_saved_as_png_and_pdf(folder: Path):
    figures = folder.parent / "figures"
    assert sorted(path.name for path in figures.iterdir()) == sorted(
        f"{name}.{kind}" for name in CHARTS for kind in ("png", "pdf")
    )
    assert (figures / "rates.png").read_bytes().startswith(b"\x89PNG")
    assert (figures / "rates.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "M"), [("quickstart", 4), ("movies", 2)])
def test_the_report_of_a_trained_run(browser: Any, tmp_path: Path, name: str, M: int):
    run = next((p for p in sorted(Path("runs").glob(f"{name}*")) if (p / "checkpoints/BEST").exists()), None)
    if run is None:
        pytest.skip(f"no trained run of {name} under runs/; train recipes/{name}.toml first")
    write_report([str(run)], out=tmp_path / "out")
    context = browser.new_context(viewport={"width": 390, "height": 900})
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto((tmp_path / "out/report.html").as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    rows = opened.evaluate("document.querySelector('#patterns table tbody').rows.length")
    context.close()
    assert rows == 2**M - 1
    assert said == []
