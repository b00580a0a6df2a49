"""Colours of every common kind of picture file, and texts in the encodings that editors write."""

from __future__ import annotations

from contextlib import suppress

import av
import numpy as np
import pytest
import tiny
from PIL import Image

from u2a.errors import BadSample
from u2a.media.pictures import decode_rgb
from u2a.media.probe import image_numbers
from u2a.media.texts import decode_text
from u2a_text.spec import TEXT

RED, GREEN = (204, 51, 0), (51, 153, 51)  # of the palette that Pillow makes


def two_colours() -> Image.Image:
    image = Image.new("RGB", (64, 32), RED)
    image.paste(GREEN, (32, 0, 64, 32))
    return image


def saved(form: str, **options) -> bytes:
    return tiny.image_bytes(two_colours(), form, **options)


def in_mode(mode: str, form: str) -> bytes:
    return tiny.image_bytes(two_colours().convert(mode), form, **({"quality": 95} if form == "JPEG" else {}))


def first_of_two(form: str) -> bytes:
    return saved(form, save_all=True, append_images=[Image.new("RGB", (64, 32), "blue")])


KINDS = {
    "CMYK JPEG": in_mode("CMYK", "JPEG"),
    "CMYK TIFF": in_mode("CMYK", "TIFF"),
    "YCbCr TIFF": in_mode("YCbCr", "TIFF"),
    "palette PNG": in_mode("P", "PNG"),
    "palette GIF": in_mode("P", "GIF"),
    "palette BMP": in_mode("P", "BMP"),
    "animated PNG": first_of_two("PNG"),
    "animated WebP": saved("WEBP", save_all=True, append_images=[Image.new("RGB", (64, 32))], lossless=True),
    "pages of a TIFF": first_of_two("TIFF"),
    "several in a JPEG": first_of_two("MPO"),
    "LZW TIFF": saved("TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": saved("TIFF", compression="jpeg", quality=95),
    "AVIF": saved("AVIF", quality=95),
}


@pytest.mark.parametrize("kind", KINDS)
def test_colours_of_every_kind(kind):
    seen = np.asarray(decode_rgb(KINDS[kind])).astype(int)
    assert seen.shape == (32, 64, 3)
    assert np.abs(seen[16, 8] - RED).max() <= 12
    assert np.abs(seen[16, 56] - GREEN).max() <= 12


def test_sixteen_bit_colours_keep_their_upper_byte():
    wide = np.zeros((4, 4, 3), np.uint16)
    wide[:] = [value * 257 for value in RED]
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 4, 4, "rgb48be"
    encoder.time_base = 1
    frame = av.VideoFrame.from_ndarray(wide, "rgb48le").reformat(format="rgb48be")
    member = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    assert member[24] == 16
    assert np.asarray(decode_rgb(member))[2, 2].tolist() == list(RED)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_texts_of_every_editor(checkpoints, encoding):
    preprocessor = TEXT.preprocessor(TEXT.options(kind="text", encoder=str(checkpoints["bert"])))
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    member = mark + "the red boat".encode(encoding)
    plain = preprocessor(b"the red boat", train=False, seed=0)["input_ids"].tolist()
    assert preprocessor(member, train=False, seed=0)["input_ids"].tolist() == plain
    assert decode_text(member) == "the red boat"
    with pytest.raises(BadSample, match="not UTF-16"):
        preprocessor(b"\xff\xfe\x41", train=False, seed=0)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("caf\u00e9".encode("latin-1"), r"not UTF-8 \(byte 3\); save it as UTF-8"),
        ("rain".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"\xff\xfea", r"not UTF-16 \(byte 2\)"),
    ],
)
def test_other_encodings_are_refused_with_what_to_do(member, reason):
    with pytest.raises(BadSample, match=reason):
        decode_text(member)
    assert decode_text(b"rain\0\0") == "rain\0\0"  # padding is no encoding


def test_a_header_that_breaks_its_codec_is_no_picture():
    member = bytearray(saved("AVIF"))
    member[0x20:0x60] = bytes(0x40)
    with suppress(BadSample):
        assert set(image_numbers(bytes(member))) == {"width (px)", "height (px)"}
