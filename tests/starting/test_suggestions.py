"""What ``u2a init`` writes for texts, sounds and pictures of known lengths and sizes, by hand."""

from __future__ import annotations

import tiny

from u2a_audio.spec import AUDIO
from u2a_image.spec import IMAGE
from u2a_text.spec import TEXT


def test_texts_have_room_for_nineteen_of_twenty() -> None:
    assert TEXT.suggest is not None
    texts = [*["red sea"] * 21, *["a word " * 16] * 18, "a word " * 200]  # 2, 32 and 400 tokens
    found = TEXT.suggest("small", [text.encode() for text in texts], {})
    assert found is not None
    assert found.options["max_length"] == 48  # with the first and the last token 34, in sixteens
    asked = TEXT.suggest("small", [b"red sea"], {"max_length": 9})
    assert asked is not None
    assert asked.options["max_length"] == 9


def test_the_encoder_is_for_the_script_of_a_tenth_of_the_letters() -> None:
    assert TEXT.suggest is not None
    encoders = []
    for foreign in (0, 10, 30):  # the last ones
        texts = ["red" if n < 200 - foreign else "\u0434\u043e\u043c" for n in range(200)]
        found = TEXT.suggest("small", [text.encode() for text in texts], {})
        assert found is not None
        encoders.append(found.options["encoder"])
    assert encoders[0] == encoders[1] == "sentence-transformers/all-MiniLM-L6-v2"
    assert "multilingual" in encoders[2]


def test_sounds_have_room_for_nineteen_of_twenty() -> None:
    assert AUDIO.suggest is not None
    seconds = [*[0.5] * 21, *[1.2] * 18, 9.0]
    found = AUDIO.suggest("base", [tiny.sound_bytes(tiny.tone(s)) for s in seconds], {})
    assert found is not None
    assert found.options["max_length"] == 128  # 120 frames of 10 ms, in thirty-twos


def test_pictures_get_the_resolution_of_half_of_them_where_that_is_small() -> None:
    assert IMAGE.suggest is not None
    for sides, wanted in (((90, 100, 400), 112), ((169, 300, 400), None), ((10, 12, 14), 28)):
        members = [tiny.image_bytes(tiny.picture(side + 40, side)) for side in sides]
        found = IMAGE.suggest("small", members, {})
        assert found is not None
        assert found.options.get("resolution") == wanted  # in patches of 14, two at least
