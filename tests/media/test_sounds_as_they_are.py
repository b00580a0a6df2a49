"""Recordings that broke off, were streamed, damaged, or change in mid-stream; right values are arithmetic."""

from __future__ import annotations

import io
import struct
import tracemalloc
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import tiny

from u2a.data.inspection.findings import inspect, open_splits
from u2a.data.packing.pack import pack_manifest
from u2a.errors import BadSample
from u2a.media import mp3
from u2a.media.partial import noting_losses
from u2a.media.probe import wave as drawn
from u2a.media.sounds import decode_mono
from u2a.recipe.file import load_recipe


def hertz(wave: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(wave))) * rate / len(wave))


def adts(seconds: float, rate: int, layout: str) -> bytes:
    """AAC without a container: two such files, one after another, are one."""
    wave = tiny.tone(seconds, rate)
    channels = 1 if layout == "mono" else 2
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        for start in range(0, len(wave) - 1023, 1024):
            part = np.repeat(wave[None, start : start + 1024], channels, axis=0)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), "fltp", layout)
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def spoilt(member: bytes, numbers: range) -> bytes:
    """The file with these packets of its sound overwritten."""
    damaged = bytearray(member)
    with av.open(io.BytesIO(member)) as container:
        packets = [(p.pos, p.size) for p in container.demux(container.streams.audio[0]) if p.size]
    for number in numbers:
        at, size = packets[number]
        damaged[at : at + size] = b"\xff" * size
    return bytes(damaged)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFFFDB, 0x40000000], ids=hex)
def test_a_size_that_the_recorder_did_not_know(size):
    member = bytearray(tiny.sound_bytes(tiny.tone(1.0)))
    at = member.index(b"data") + 4
    member[4:8] = member[at : at + 4] = struct.pack("<I", size)
    wave, rate = decode_mono(bytes(member), 10)
    assert (len(wave), rate, round(hertz(wave, rate))) == (16000, 16000, 440)


@pytest.mark.parametrize("form", ["RF64", "W64", "AIFF", "CAF", "AU"])
def test_large_and_foreign_containers_of_pcm(form):
    wave, rate = decode_mono(tiny.sound_bytes(tiny.tone(1.0), format=form, subtype="PCM_16"), 10)
    assert (len(wave), rate, round(hertz(wave, rate))) == (16000, 16000, 440)


@pytest.mark.parametrize(("form", "options"), [("WAV", {}), ("RF64", {"subtype": "PCM_16"}), ("FLAC", {})])
def test_a_cut_recording_is_used_if_95_percent_are_there(form, options):
    member = tiny.sound_bytes(tiny.tone(4.0), format=form, **options)
    with noting_losses() as losses:
        wave, _ = decode_mono(member[: int(len(member) * 0.97)], 10)
    assert 0.95 * 64000 < len(wave) < 64000
    assert len(losses) == 1
    assert "sound is damaged" in losses[0]
    with pytest.raises(BadSample, match=r"only [3-6].% of the sound"):
        decode_mono(member[: len(member) // 2], 10)
    with noting_losses() as losses:  # what is not looked at cannot be missing
        assert len(decode_mono(member[: len(member) // 2], 0.5)[0]) == 8001
    assert losses == []


@pytest.mark.parametrize("numbers", [range(20, 21), range(1), range(2)], ids=["one", "first", "two first"])
def test_a_few_damaged_packets_are_left_out_and_told(numbers):
    member = tiny.clip_bytes(None, tiny.tone(4.0))
    with noting_losses() as losses:
        wave, rate = decode_mono(spoilt(member, numbers), 10)
    assert abs(len(wave) / rate - 4) < 0.3
    assert round(hertz(wave[: rate // 2], rate)) == round(hertz(wave[-rate // 2 :], rate)) == 440
    assert len(losses) == 1
    with pytest.raises(BadSample, match="of the sound can be decoded"):
        decode_mono(spoilt(member, range(5, 30)), 10)


def test_frames_of_an_mp3_that_are_gone_are_counted():
    """Its decoder says nothing of them."""
    member = tiny.sound_bytes(tiny.tone(160_000 / 44100, 44100), 44100, "MP3")
    assert member.count(b"Info") + member.count(b"Xing") == 1
    starts = [0]
    while starts[-1] < len(member):
        starts.append(starts[-1] + mp3._frame(member, starts[-1])[0])
    frames = [member[a:b] for a, b in pairwise(starts)]
    n = len(frames)
    tagged = b"ID3\3\0\0\0\0\0\x05\xe9\xe9\xe9\xe9\xe9" + member + b"TAG" + b"\xe9" * 125
    for whole in (member, tagged):
        with noting_losses() as losses:
            assert len(decode_mono(whole, 30)[0]) == 160_000
        assert losses == []
    some = [frame if k not in (40, 41, 90) else bytes(len(frame)) for k, frame in enumerate(frames)]
    with noting_losses() as losses:
        decode_mono(b"".join(some), 30)
    assert losses == [f"{3 / n:.1%} of the sound is damaged and was left out"]
    zeros = [frame if not 40 <= k < 60 else bytes(len(frame)) for k, frame in enumerate(frames)]
    for broken, share in ((b"".join(zeros), 1 - 20 / n), (b"".join(frames[: n // 2]), (n // 2) / n)):
        with pytest.raises(BadSample, match=f"only {int(100 * share)}% of the sound"):
            decode_mono(broken, 30)
    assert len(decode_mono(b"".join(frames[: n // 2]), 1.0)[0]) == 44101  # what is used of it is whole


def ogg_pages(member: bytes) -> list[bytes]:
    pages, at = [], 0
    while at < len(member):
        lines = member[at + 27 : at + 27 + member[at + 26]]
        pages.append(member[at : at + 27 + len(lines) + sum(lines)])
        at += len(pages[-1])
    return pages


def rising(rate: int, seconds: int, codec: str) -> bytes:
    """From 200 Hz to 2,000 Hz; in pieces, since libsndfile cannot take long ones."""
    t_T = np.arange(rate * seconds) / rate
    wave_T = 0.5 * np.sin(2 * np.pi * (200 * t_T + 900 / seconds * t_T**2))
    member = io.BytesIO()
    with soundfile.SoundFile(member, "w", rate, 1, codec, format="OGG") as file:
        for part in np.split(wave_T, seconds):
            file.write(part)
    return member.getvalue()


@pytest.mark.parametrize(("codec", "rate"), [("VORBIS", 44100), ("OPUS", 48000)])
def test_pages_of_an_ogg_file_that_are_gone_are_counted(codec, rate):
    member = rising(rate, 60, codec)
    pages = ogg_pages(member)
    m, middle = len(pages) // 2, len(member) // 2
    with noting_losses() as losses:
        assert len(decode_mono(member, 90)[0]) == 60 * rate
        assert len(decode_mono(b"".join([*pages[:m], b"nothing" * 9, *pages[m:]]), 90)[0]) == 60 * rate
    assert losses == []
    flipped = member[:middle] + bytes([member[middle] ^ 1]) + member[middle + 1 :]
    for damaged in (b"".join(pages[:m] + pages[m + 1 :]), b"".join(pages[:2] + pages[3:]), flipped):
        with noting_losses() as losses:
            wave, _ = decode_mono(damaged, 90)
        told = float(losses.pop().split("%")[0]) / 100
        assert told == pytest.approx(1 - len(wave) / rate / 60, rel=0.2)  # pages are not equally long
        assert not losses
    with noting_losses() as losses:
        decode_mono(b"".join(pages[:-1])[:-9], 90)
    there, wanted = (struct.unpack_from("<q", page, 6)[0] for page in pages[-3:-1])
    assert losses == [f"{1 - there / wanted:.1%} of the sound is damaged and was left out"]
    wave, _ = decode_mono(b"".join(pages[:2] + pages[m:]), 90)  # somebody tuned in
    assert 20 < len(wave) / rate < 40
    assert hertz(wave[-rate:], rate) > 1900
    for damaged in (
        b"".join(pages[: m - m // 4] + pages[m:]),
        b"".join(pages[:4])[:-9],
        b"".join(pages[:3])[:-9],
    ):
        with pytest.raises(BadSample, match=r"only \d+% of the sound can|no audio frames"):
            decode_mono(damaged, 90)


@pytest.mark.parametrize(
    "between",
    [b"LIST\x0f\0\0\0INFOISFT\x03\0\0\0abc", b"LIST\x10\0\0\0INFOISFT\x04\0\0\0abcd\0", b"bext\3\0\0\0xyz"],
    ids=["odd without a byte", "even with one", "another"],
)
def test_chunks_of_a_wav_that_are_padded_wrongly(between):
    member = tiny.sound_bytes(tiny.tone(1.0))
    at = member.index(b"data")
    for odd in (member[:at] + between + member[at:], member[:12] + between + member[12:]):
        wave, rate = decode_mono(odd, 10)
        np.testing.assert_array_equal(wave, decode_mono(member, 10)[0])
        assert rate == 16000


@pytest.mark.parametrize("rates", [(16000, 16000), (16000, 8000)])
def test_recordings_joined_in_one_ogg_file_are_read_to_the_end(rates):
    parts = [
        tiny.sound_bytes(tiny.tone(1.0, rate, f), rate, "OGG")
        for rate, f in zip(rates, (440, 880), strict=True)
    ]
    wave, rate = decode_mono(b"".join(parts), 30)
    assert (len(wave), rate) == (32000, 16000)
    assert [round(hertz(half, rate)) for half in (wave[:16000], wave[16000:])] == [440, 880]
    assert len(decode_mono(b"".join(parts), 1.5)[0]) == 24001


@pytest.mark.parametrize("rates", [(44100, 44100), (44100, 22050)])
def test_mp3s_that_were_joined_are_read_to_the_end(rates):
    """The first one declares its own length, where its decoder stops."""
    parts = [tiny.sound_bytes(tiny.tone(2.0, r, f), r, "MP3") for r, f in zip(rates, (440, 880), strict=True)]
    with noting_losses() as losses:
        wave, rate = decode_mono(b"".join(parts), 30)
    assert (rate, losses) == (44100, [])
    assert abs(len(wave) - 4 * 44100) < 8000  # each begins and ends with a frame or two of nothing
    assert [round(hertz(part, rate)) for part in (wave[22050:66150], wave[-66150:-22050])] == [440, 880]


@pytest.mark.skipif("libopencore_amrnb" not in av.codecs_available, reason="this FFmpeg writes no AMR")
def test_the_voice_memos_of_older_phones():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="amr") as container:
        stream = container.add_stream("libopencore_amrnb", rate=8000, layout="mono")
        for start in range(0, 8000, 160):
            part = (tiny.tone(1.0, 8000)[None, start : start + 160] * 20000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    wave, rate = decode_mono(buffer.getvalue(), 30)
    assert (abs(len(wave) - 8000) <= 320, rate, round(hertz(wave[:8000], rate))) == (True, 8000, 440)


def test_a_whole_sound_has_no_losses():
    for member in (tiny.clip_bytes(None, tiny.tone()), tiny.sound_bytes(tiny.tone(), format="MP3")):
        with noting_losses() as losses:
            decode_mono(member, 10)
        assert losses == []


def test_channels_and_rate_that_change_in_mid_stream():
    wave, rate = decode_mono(adts(1.0, 44100, "mono") + adts(1.0, 44100, "stereo"), 10)
    assert rate == 44100
    assert abs(len(wave) - 88200) < 5000
    assert round(hertz(wave[-22050:], rate)) == 440
    wave, rate = decode_mono(adts(1.0, 44100, "mono") + adts(1.0, 22050, "mono"), 10)
    assert rate == 44100
    assert abs(len(wave) - 88200) < 8000
    assert abs(hertz(wave[-22050:], rate) - 440) < 3
    assert drawn(adts(1.0, 44100, "mono") + adts(1.0, 44100, "stereo"), 90).size[0] == 90


def test_packing_and_inspecting_name_samples_that_lost_a_part(tmp_path: Path, checkpoints):
    whole = tiny.sound_bytes(tiny.tone(0.6))
    for name, member in (("a", whole), ("b", whole[: int(len(whole) * 0.97)])):
        (tmp_path / f"{name}.wav").write_bytes(member)
    rows = ["key,split,label,audio_path", "a,train,x,a.wav", "b,train,y,b.wav"]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "recipe.toml").write_text(
        'name = "n"\n[data]\nshards = "./out"\n[task]\nclasses = ["x", "y"]\n'
        f'[modalities.audio]\nkind = "audio"\nencoder = "{checkpoints["ast"]}"\n'
    )
    told: list[str] = []
    recipe = load_recipe(tmp_path / "recipe.toml")
    summary = pack_manifest(recipe, tmp_path / "rows.csv", tmp_path / "out", check=True, tell=told.append)
    assert list(summary["train"].damaged) == ["b"]
    assert summary.as_dict()["splits"]["train"]["damaged"]["b"]["audio"].endswith("left out")
    assert any("1 samples have damaged parts" in note and "'b'" in note for note in told)
    wrong = [line for line in inspect(recipe, open_splits(recipe)).wrong if "damaged" in line]
    assert len(wrong) == 1
    assert "sample 'b': audio" in wrong[0]


@pytest.mark.parametrize("name", [b"fmt ", b"ds64", b"LIST"])
def test_a_damaged_size_of_a_wav_chunk_takes_no_memory(name):
    member = b"RF64\xff\xff\xff\xffWAVE" + name + b"\xff\xff\xff\x7f" + b"rest" * 9
    tracemalloc.start()
    with pytest.raises(BadSample):
        decode_mono(member, 10)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
