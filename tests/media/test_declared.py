"""What a file declares decides what is seen and heard; right values are arithmetic on hand-made files."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import tiny
from PIL import Image

from u2a.errors import BadSample, NoContent
from u2a.media.pictures import decode_rgb
from u2a.media.probe import thumbnail
from u2a.media.sounds import decode_mono, joined
from u2a_audio.spec import AUDIO
from u2a_text.spec import TEXT
from u2a_video.decode import decode_frames


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def grey_png(depth: int, values: list[int], key: int | None, *extra: bytes) -> bytes:
    """One row of greys, packed by hand."""
    bits = "".join(format(value, f"0{depth}b") for value in values)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    clear = [chunk(b"tRNS", struct.pack(">H", key))] if key is not None else []
    header = struct.pack(">IIBBBBB", len(values), 1, depth, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, *clear, chunk(b"IDAT", zlib.compress(row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def grey_tiff(order: str, bits: int, photometric: int, values: list[int], *, packed: bool = False) -> bytes:
    """One row of greys, from the highest bit on; whole bytes in the file's order."""
    if bits % 8:
        text = "".join(format(value, f"0{bits}b") for value in values)
        data = int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")
    else:
        data = b"".join(v.to_bytes(bits // 8, "little" if order == "<" else "big") for v in values)
    data = zlib.compress(data) if packed else data
    tags = {256: len(values), 257: 1, 258: bits, 259: 8 if packed else 1, 262: photometric, 273: 0}
    tags |= {277: 1, 278: 1, 279: len(data), 339: 1, 274: 2 if packed else 1}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in sorted(tags.items()):
        entries += struct.pack(order + "HHI", tag, 4, 1) + struct.pack(order + "I", value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + data


def greys(member: bytes) -> list[int]:
    return np.asarray(decode_rgb(member))[0, :, 0].tolist()


@pytest.mark.parametrize(
    ("depth", "values", "key", "right"),
    [
        (1, [0, 1] * 4, 0, [255, 255] * 4),
        (1, [0, 1] * 4, None, [0, 255] * 4),
        (2, [0, 1, 2, 3], 1, [0, 255, 170, 255]),
        (4, [0, 3, 8, 15], 8, [0, 51, 255, 255]),
        (8, [0, 10, 128, 255], 10, [0, 255, 128, 255]),
        (16, [0, 2570, 32896, 65535], 2570, [0, 255, 128, 255]),
        (16, [0, 2570, 2571, 4112], None, [0, 10, 10, 16]),
    ],
)
def test_greys_and_transparent_greys_of_a_png(depth, values, key, right):
    assert greys(grey_png(depth, values, key)) == right


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"eXIf", b"no exif at all"),
        chunk(b"iCCP", b"x\0\0" + b"damaged"),
        chunk(b"tEXt", b"a\0b")[:-1] + b"!",
    ],
    ids=["huge text", "damaged exif", "damaged profile", "wrong checksum"],
)
def test_metadata_costs_no_pixels(extra):
    assert greys(grey_png(8, [0, 10, 128, 255], None, extra)) == [0, 10, 128, 255]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [6, 10, 12, 14, 16, 24, 32])
def test_greys_of_a_tiff(order, photometric, bits):
    white = (1 << bits) - 1
    right = [0, 10, 63, 128, 255] if bits > 8 else [0, 12, 60, 129, 255]
    # The least that is at least so bright; and two more, so that no value reads alike from either end.
    values = [min(white, -(-grey * white // 255) + 2 * (bits > 8)) for grey in right]
    values = values if photometric else [white - value for value in values]  # 0 is white
    assert greys(grey_tiff(order, bits, photometric, values)) == right
    if bits in (10, 14):  # compressed, and mirrored by its orientation
        assert greys(grey_tiff(order, bits, photometric, values, packed=True)) == right[::-1]


def test_a_tiff_whose_strips_do_not_cover_it_is_refused():
    """Pillow would leave the rest black: here, 16 million rows of it from 150 bytes."""
    member = bytearray(grey_tiff("<", 16, 1, [0, 1, 2, 3]))
    height = member.index(struct.pack("<HHI", 257, 4, 1)) + 8
    member[height : height + 4] = struct.pack("<I", 16_515_073)
    with pytest.raises(BadSample, match="declares 4 x 16515073 pixels, but holds 4 x 1"):
        decode_rgb(bytes(member))


@pytest.mark.parametrize("brightest", [255, 65535])
def test_a_palette_of_a_tiff_may_be_of_8_or_16_bits(brightest):
    red, green, blue = ([brightest * on for on in row] for row in ([1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]))
    colours = [value for part in (red, green, blue) for value in [*part, *[0] * 252]]
    entries = {256: (4, 4), 257: (4, 1), 258: (3, 8), 259: (3, 1), 262: (3, 3), 273: (4, 134), 277: (3, 1)}
    entries |= {278: (4, 1), 279: (4, 4), 320: (3, 138)}
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, (kind, value) in entries.items():
        head += struct.pack("<HHII", tag, kind, 768 if tag == 320 else 1, value)
    member = (head + bytes(4)).ljust(134, b"\0") + bytes([0, 1, 2, 3]) + struct.pack("<768H", *colours)
    assert np.asarray(decode_rgb(member))[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3]


def test_a_tiff_of_l_a_b_is_seen_in_its_colours():
    """What sRGB's primaries, white and a grey are in CIE L*a*b* of D50 (Lindbloom), in bytes."""
    lab = {(255, 0, 0): (138, 81, 70), (0, 255, 0): (224, -79, 81), (0, 0, 255): (75, 68, -112)}
    lab |= {(255, 255, 255): (255, 0, 0), (119, 119, 119): (128, 0, 0), (48, 48, 48): (51, 0, 0)}
    lab |= {(198, 198, 198): (204, 0, 0)}
    pixels = b"".join(struct.pack("Bbb", *values) for values in lab.values())
    entries = {256: 7, 257: 1, 258: 8, 259: 1, 262: 8, 273: 134, 277: 3, 278: 1, 279: 21}
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, value in entries.items():
        head += struct.pack("<HHII", tag, 4, 1, value)
    entry = 10 + 12 * list(entries).index(258)
    head = head[:entry] + struct.pack("<HHII", 258, 3, 3, 156) + head[entry + 12 :]
    member = (head + bytes(4)).ljust(134, b"\0") + pixels.ljust(22, b"\0") + struct.pack("<3H", 8, 8, 8)
    off = np.abs(np.asarray(decode_rgb(member))[0].astype(int) - np.array(list(lab)))
    assert off.max() <= 10  # a byte is up to 10 of a channel
    assert off[3:].max() <= 1  # of greys a half


def quarters() -> Image.Image:
    image = Image.new("RGB", (60, 24), "red")
    image.paste("blue", (30, 0, 60, 24))
    image.paste("white", (0, 12, 30, 24))
    return image


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_in_every_container(form, orientation):
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of what the viewer does
    stored = quarters()
    if orientation in turns:
        stored = stored.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    member = tiny.image_bytes(stored, form, exif=exif, **({} if form in ("PNG", "TIFF") else {"quality": 95}))
    seen = []
    shown = decode_rgb(member, lambda size: seen.append(size) or 1.0)
    assert seen == [(60, 24)]
    assert np.abs(np.asarray(shown, int) - np.asarray(quarters(), int)).mean() < 6


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_marker_is_whole(progressive):
    member = tiny.image_bytes(tiny.picture(64, 48), "JPEG", quality=90, progressive=progressive)
    assert np.array_equal(np.asarray(decode_rgb(member)), np.asarray(decode_rgb(member[:-2])))
    for cut in (3, 12, len(member) // 3):
        with pytest.raises(BadSample, match="truncated"):
            decode_rgb(member[:-cut])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(12), "HEIC"),
        (b"8BPS" + bytes(20), "Photoshop"),
        (b"\xef\xbb\xbf\n<html>", "HTML"),
        (b'{"error": 404}', "JSON"),
        (b"/9j/4AAQSkZJRg", "base64 text of a JPEG"),
        (b"https://example.org/a.jpg", "an address"),
        (bytes(40) + b"TRUEVISION-XFILE.\0", "TGA"),
    ],
)
def test_a_format_that_is_not_read_is_named(data, name):
    with pytest.raises(BadSample, match=name):
        decode_rgb(data)


def hertz(wave: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(wave))) * rate / len(wave))


def test_a_wav_of_zero_bytes_is_read_to_its_end():
    member = bytearray(tiny.sound_bytes(tiny.tone(1.0)))
    at = member.index(b"data") + 4
    member[at : at + 4] = bytes(4)
    wave, rate = decode_mono(bytes(member), 10)
    assert (len(wave), rate, round(hertz(wave, rate))) == (16000, 16000, 440)
    with pytest.raises(NoContent):
        decode_mono(bytes(member[: at + 4]), 10)


def test_another_rate_in_mid_stream_keeps_the_pitch():
    parts = [(tiny.tone(1.0, 44100), 44100), (tiny.tone(1.0, 22050), 22050)]
    wave = joined(parts, 44100)
    assert len(wave) == 88200
    assert round(hertz(wave[44100:], 44100)) == 440


def test_values_that_make_features_infinite_are_refused(checkpoints):
    wave = tiny.tone()
    wave[5] = 1e30
    preprocessor = AUDIO.preprocessor(AUDIO.options(kind="audio", encoder=str(checkpoints["ast"])))
    with pytest.raises(BadSample, match="1e\\+30"):
        preprocessor(tiny.sound_bytes(wave, subtype="FLOAT"), train=False, seed=0)


@pytest.mark.parametrize("seen", ["\u200b\u200e", "\0\0", "\ufffd", " \u3000\ufeff"])
def test_a_text_of_nothing_to_see_is_missing(checkpoints, seen):
    preprocessor = TEXT.preprocessor(TEXT.options(kind="text", encoder=str(checkpoints["bert"])))
    with pytest.raises(NoContent):
        preprocessor(seen.encode(), train=False, seed=0)


def test_typed_markup_is_text(checkpoints):
    preprocessor = TEXT.preprocessor(TEXT.options(kind="text", encoder=str(checkpoints["bert"])))
    ids = preprocessor(b"the [SEP] sea [PAD] [CLS]", train=False, seed=0)["input_ids"].tolist()
    special = {tiny.bert_vocabulary().index(word) for word in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")}
    assert not special & set(ids[1:-1])


def quarter_clip() -> np.ndarray:
    return np.repeat(np.asarray(quarters().resize((64, 48), 0))[None], 3, axis=0)


@pytest.mark.parametrize(
    ("matrix", "right"),
    [
        ((1, 0, 0, 1), lambda p: p),
        ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
        ((1, 0, 0, -1), lambda p: p[::-1]),
        ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
        ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
        ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
        ((0, -1, 1, 0), lambda p: np.rot90(p)),
        ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
    ],
)
def test_every_display_matrix(matrix, right):
    member = bytearray(tiny.clip_bytes(quarter_clip()))
    at = member.index(b"tkhd") + 44
    a, b, c, d = (value * 0x10000 for value in matrix)
    member[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    shown = decode_frames(bytes(member), lambda count: [0])[0].astype(int)
    plain = decode_frames(tiny.clip_bytes(quarter_clip()), lambda count: [0])[0].astype(int)
    assert np.array_equal(shown, right(plain))


def test_the_gallery_shows_what_the_model_sees():
    member = grey_png(16, [0, 2570, 32896, 65535], 0)
    shown = thumbnail(member, 90)
    assert np.array_equal(np.asarray(shown), np.asarray(decode_rgb(member)))
