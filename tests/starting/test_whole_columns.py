"""``u2a init`` looks at all of a column: class folders and sorted tables begin with one class."""

from __future__ import annotations

from pathlib import Path

import pytest
from started import pictures, sounds, started, table


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_sounds_of_the_last_class_fit_as_well() -> None:
    sounds(
        *((f"d/click/{i:02}.wav", 0.1) for i in range(56)), *((f"d/song/{i:02}.wav", 2.0) for i in range(56))
    )
    recipe, _, _ = started("d")
    assert recipe["modalities"]["audio"]["max_length"] == 224  # 200 frames of 10 ms, in thirty-twos


def test_the_pictures_of_the_last_class_are_seen() -> None:
    pictures(*(f"d/a/{i}.png" for i in range(50)), size=(24, 20))
    pictures(*(f"d/b/{i}.png" for i in range(70)), size=(280, 240))
    assert "resolution" not in started("d")[0]["modalities"]["image"]  # most are larger than the encoder's 224


@pytest.mark.parametrize("order", ["sorted", "alternating"])
def test_the_texts_of_the_last_class_choose_length_and_language(order: str) -> None:
    short = [{"text": f"the boat is {'red' * (i % 2)} {i}", "label": "en"} for i in range(300)]
    long = [{"text": f"красная лодка {i} " * 20, "label": "ru"} for i in range(300)]
    rows = (
        [*short, *long]
        if order == "sorted"
        else [row for pair in zip(short, long, strict=True) for row in pair]
    )
    section = started(table("t.csv", rows))[0]["modalities"]["text"]
    assert "multilingual" in section["encoder"]
    assert section["max_length"] == 64  # twenty times three pieces, and two at the ends


def test_what_the_first_rows_look_like_is_not_what_a_column_is() -> None:
    rows = [
        {
            "text": f"the boat number {i} is red",
            "about": str(i) if i < 250 else f"nobody saw ship {i} at all",
            "rating": f"{i} of 9 stars, says the press" if i < 50 else str(i),
            "label": "a" if i < 250 else "b",
        }
        for i in range(600)
    ]
    recipe, _, said = started(table("t.csv", rows))
    assert list(recipe["modalities"]) == ["text", "about"]
    assert "column 'rating' (words or codes, no text) is left out" in said
