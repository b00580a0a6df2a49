"""Limits of members: what is larger is refused by its headers and packets, and nothing else is."""

from __future__ import annotations

import pytest
import tiny

from u2a.plugins.loading import registry
from u2a_serve import limits
from u2a_serve.limits import Limits, TooMuch, check_member

LIMITS = Limits(pixels=2000, seconds=2.0, frames=12, text=5)


def check(kind: str, member: bytes, limits: Limits = LIMITS) -> None:
    check_member(member, registry().spec(kind).extensions, limits)


def film(frames: int, height: int = 36, width: int = 48) -> bytes:
    return tiny.clip_bytes(tiny.numbered_frames(frames, height, width), None)


def test_sounds_and_films() -> None:
    check("audio", tiny.sound_bytes(tiny.tone(1.9)))
    check("video", film(12))
    for kind, member, said in (
        ("audio", tiny.sound_bytes(tiny.tone(2.5)), "longer than 2 seconds"),
        ("audio", tiny.clip_bytes(tiny.numbered_frames(5, 36, 48), tiny.tone(3)), "longer than 2 seconds"),
        ("video", film(13), "a film of more than 12 frames"),
        ("video", film(4, 64, 64), "frames of 4096 pixels; at most 2000"),
    ):
        with pytest.raises(TooMuch, match=said):
            check(kind, member)


def test_a_film_holds_no_more_pixels_than_so_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PICTURES_A_FILM", 10)
    wide = Limits(pixels=2000, seconds=100, frames=100)
    check("video", film(11), wide)  # 11 frames of 1728 pixels: 19008 of 20000
    with pytest.raises(TooMuch, match="a film of more than 11 frames"):
        check("video", film(12), wide)


def test_pictures_and_texts() -> None:
    check("image", tiny.image_bytes(tiny.picture(50, 40)))
    with pytest.raises(TooMuch, match="a picture of 51 x 40 pixels; at most 2000"):
        check("image", tiny.image_bytes(tiny.picture(51, 40)))
    check("text", "ééééé".encode())
    check("text", "abcde".encode("utf-16"))
    with pytest.raises(TooMuch, match="a text of 6 characters; at most 5"):
        check("text", b"abcdef")


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_what_cannot_be_read_is_the_preprocessors_to_tell(kind: str) -> None:
    for member in (b"", b"nothing of this", tiny.image_bytes(tiny.picture())[:60], film(3)[:200]):
        check(kind, member)
