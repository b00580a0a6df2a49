"""``u2a init``: which columns are texts. Figures have spaces, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from started import pictures, started, table

FIGURES: dict[str, Callable[[int], str]] = {
    "time": lambda i: f"2024-01-{1 + i % 28:02} {i % 24:02}:{i:02}:00",
    "date": lambda i: f"{('Mon', 'Tuesday')[i % 2]}, {1 + i % 28} {('January', 'September')[i % 4 // 2]}",
    "clock": lambda i: f"{1 + i % 12}:{i:02} {('AM', 'PM')[i % 2]}",
    "box": lambda i: str([834.0 + i, 222.5, 3.0 * i, float("nan"), float("nan")]),
    "mask": lambda i: "" if i % 2 else f"{i} 5 {10 * i} 7 {100 * i} 12",
    "place": lambda i: f"{40 + i / 7:.4f} N {10 + i / 9:.4f} E",
    "size": lambda i: f"{12 + i} KB",
    "far": lambda i: f"{i} km",
    "high": lambda i: f"{i} ft {i % 12} in",
    "json": lambda i: f'{{"left": {834.25 + i}, "top": {222.5 + i}}}',
    "corners": lambda i: f'{{"left": {i}.25, "top": 222.521, "width": 834.25, "height": 341.{i}}}',
    "hex": lambda i: " ".join(f"{(i * 7919 * k) % 256:02x}" for k in range(1, 40)),
}
TEXTS: dict[str, Callable[[int], str]] = {
    "english": lambda i: f"ok, call me at {i}",
    "chat": lambda i: ("lol :)", "yes !", "ok ...", "thanks 🙏")[i % 4] + "!" * (i // 4),
    "russian": lambda i: f"красная лодка {i}",
    "hindi": lambda i: f"लाल नाव {'पर ' * i}",
    "korean": lambda i: f"빨간 배 {'하나 ' * i}",
    "chinese": lambda i: f"红色的小船{i}",
    "may": lambda i: f"She may come on Sunday with {i} friends",
    "sum": lambda i: f"What is {3456 + i} + {7891 * i} ?",
    "log": lambda i: f"081109 2035{i} INFO Receiving block blk_-{i}0899968 src: /10.250.19.1{i}:54106",
    "product": lambda i: f"red boat, model {i}",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_texts_are_told_from_figures() -> None:
    pictures(*(f"{i:03}.png" for i in range(60)))
    columns = FIGURES | TEXTS
    rows = [
        {"file": f"{i:03}.png", "label": "ab"[i % 2], **{name: made(i) for name, made in columns.items()}}
        for i in range(60)
    ]
    recipe, _, said = started(table("t.csv", rows))
    assert list(recipe["modalities"]) == ["image", *TEXTS]
    why = "dates, lists of numbers or amounts, no text"
    assert f"{len(FIGURES)} columns ({why}) are left out: 'time', 'date', 'clock' ...\n" in said


def test_dates_that_repeat_are_no_second_column_to_be_predicted() -> None:
    rows = [
        {
            "text": f"the boat number {i} is red",
            "kind": "ab"[i % 2],
            "day": f"2024-01-{1 + i // 2 % 28:02} 07:00",
        }
        for i in range(120)
    ]
    recipe, _, said = started(table("t.csv", rows))
    assert recipe["task"]["classes"] == ["a", "b"]
    assert "column 'day' (dates, lists of numbers or amounts, no text) is left out" in said
