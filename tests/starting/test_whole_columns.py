"""``u2a init`` looks at all of a column: class folders and sorted tables begin with one class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
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


def clips(where: str, count: int, sounding: Callable[[int], bool]) -> list[str]:
    """Films of two classes, some with a tone."""
    places = []
    for i in range(count):
        tone = tiny.tone(0.2, hertz=200.0 + 9 * i) if sounding(i) else None
        places.append(f"{'xy'[i % 2]}/{i:02}.mp4")
        Path(where, places[-1]).parent.mkdir(parents=True, exist_ok=True)
        Path(where, places[-1]).write_bytes(tiny.clip_bytes(tiny.numbered_frames(2 + i % 9), tone))
    return places


@pytest.mark.parametrize("sounding", [range(0, 40, 5), range(32, 40)])
def test_a_share_of_films_with_sound_is_two_modalities(sounding: range) -> None:
    clips("d", 40, lambda i: i in sounding)
    recipe, rows, _ = started("d")
    assert set(recipe["modalities"]) == {"audio", "video"}
    assert [i for i, row in enumerate(sorted(rows, key=lambda r: r["key"][2:])) if "audio_path" in row] == [
        *sounding
    ]
    assert all("video_path" in row for row in rows)


def test_sound_that_is_left_out_is_told() -> None:
    places = clips("d", 24, lambda i: i < 2)
    recipe, _, said = started("d")
    assert set(recipe["modalities"]) == {"video"}
    assert "column '*.mp4': only 2 of 24 files looked at hold what audio reads, which is left out" in said
    rows = [{"video": place, "label": "ab"[i % 2]} for i, place in enumerate(places)]
    recipe, _, said = started(table("d/t.csv", rows))
    assert set(recipe["modalities"]) == {"video"}
    assert "column 'video': 2 of 24 files looked at hold what audio reads as well, which is left out" in said


def test_a_film_without_sound_beside_sound_files_has_none() -> None:
    sounds(*((f"d/w/a{i}.wav", 0.2) for i in range(12)))
    clips("d", 12, lambda i: i % 2 == 0)
    _, rows, _ = started("d")
    having = {Path(row["key"]).name for row in rows if "audio_path" in row}
    assert having == {f"a{i}" for i in range(12)} | {f"{i:02}" for i in range(0, 12, 2)}


def test_films_too_large_to_look_at_many_are_films(monkeypatch: pytest.MonkeyPatch) -> None:
    places = clips("d", 8, lambda i: True)
    monkeypatch.setattr("u2a.starting.members.MOST_BYTES", 1)
    rows = [{"clip": place, "label": "ab"[i % 2]} for i, place in enumerate(places)]
    recipe, found, _ = started(table("d/t.csv", rows))
    assert set(recipe["modalities"]) == {"audio", "video"}
    assert all({"audio_path", "video_path"} <= row.keys() for row in found)
