"""What `u2a data pack` can do beside packing: Parquet, workers, checks, re-encoding."""

import io
import json
import subprocess
import sys
import time

import miniatures
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import tiny
from click.testing import CliRunner
from PIL import Image

from u2a.cli.data import data
from u2a.data.packing.manifest import Manifest
from u2a.data.packing.pack import pack_manifest
from u2a.data.packing.row import RowPacker
from u2a.data.packing.sources import Cell, Row
from u2a.data.reading.split import open_split
from u2a.data.shards.dataset import read_dataset
from u2a.errors import BadSample, U2AError
from u2a.media.recode import Recode
from u2a.recipe.file import load_recipe

RECIPE = """
name = "mixed"
[data]
shards = "shards"
[task]
classes = ["cat", "dog"]
[modalities.picture]
kind = "image"
encoder = "{clip}"
resolution = 32
[modalities.sound]
kind = "audio"
encoder = "{ast}"
max_length = 64
[modalities.film]
kind = "video"
encoder = "{clip}"
resolution = 32
[modalities.text]
encoder = "{bert}"
max_length = 24
[training]
batch_size = 4
epochs = 6
lr = 1e-3
"""
NAMES = ("picture", "sound", "film", "text")


@pytest.fixture
def source(tmp_path, checkpoints):
    """Twelve samples: pictures, sounds and films, the films with the sound of every other sample in them."""
    (tmp_path / "mixed.toml").write_text(RECIPE.format(**checkpoints))
    rows = []
    for n in range(12):
        (tmp_path / f"{n}.png").write_bytes(tiny.image_bytes(tiny.picture(60, 48, n)))
        (tmp_path / f"{n}.wav").write_bytes(tiny.sound_bytes(tiny.tone(0.5, 22050), 22050))
        (tmp_path / f"{n}.mp4").write_bytes(miniatures.clip())
        row = {"key": f"k{n}", "split": "test" if n > 8 else "train", "label": ("cat", "dog")[n % 2]}
        row |= {"picture": f"{n}.png", "sound": f"{n}.{('wav', 'mp4')[n % 2]}", "film": f"{n}.mp4"}
        rows.append({**row, "text": f"the sea {n}"})
    write(tmp_path, rows)
    return tmp_path


def write(folder, rows):
    (folder / "m.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def pack(folder, out="shards", **how):
    recipe = load_recipe(folder / "mixed.toml")
    return pack_manifest(recipe, folder / "m.jsonl", folder / out, **how)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def members(folder, split="train", out="shards"):
    read = open_split(str(folder / out), split, modalities=NAMES, classes=("cat", "dog"), multi_label=False)
    found = {}
    for i in range(len(read)):
        present = [m for m, here in zip(NAMES, read.present_NM[i], strict=True) if here]
        found[read.key(i)] = read.members(i, present)
    return found


def test_parquet_is_read_like_jsonl(source):
    rows = [json.loads(line) for line in (source / "m.jsonl").read_text().splitlines()]
    rows[0] |= {"label": None, "labels": ["cat"], "text": None}
    for row in rows[1:]:
        row["labels"] = None
    write(source, rows)
    pq.write_table(pa.Table.from_pylist(rows), source / "m.parquet", row_group_size=5)
    extensions = {"picture": ("png",), "sound": ("wav", "mp4"), "film": ("mp4",), "text": ("txt",)}
    problems: list[str] = []
    read = [list(Manifest(source / f"m.{kind}", extensions).rows(problems)) for kind in ("jsonl", "parquet")]
    assert read[0] == read[1]
    assert len(read[0]) == 12
    assert problems == []


def test_parquet_that_cannot_be_read(source, monkeypatch):
    path = source / "m.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(U2AError, match="cannot be read as Parquet"):
        list(Manifest(path, {"text": ("txt",)}).rows([]))
    pq.write_table(pa.table({"split": ["train"]}), path)
    with pytest.raises(U2AError, match="has no column 'key'"):
        list(Manifest(path, {"text": ("txt",)}).rows([]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(U2AError, match=r'pip install "u2a\[parquet\]"'):
        list(Manifest(path, {"text": ("txt",)}).rows([]))


def test_the_bytes_do_not_depend_on_the_workers(source):
    how = {"shard_size": 4, "check": True, "recode": Recode(24, 8000)}
    for workers in (1, 2, 3):
        pack(source, f"out{workers}", workers=workers, **how)
    assert content(source / "out1") == content(source / "out2") == content(source / "out3")


def test_every_undecodable_file_is_named(source):
    (source / "2.png").write_bytes(b"no picture")
    (source / "4.wav").write_bytes(b"no sound")
    (source / "11.mp4").write_bytes(miniatures.clip(sound=False))
    with pytest.raises(U2AError) as caught:
        pack(source, check=True, workers=2)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[:2] for line in lines[:-1]] == [
        [f"{source / '2.png'}", "picture"],
        [f"{source / '4.wav'}", "sound"],
    ]  # the training split ends the packing
    assert "--on-error skip" in lines[-1]
    assert not (source / "shards").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_skipped_samples_are_listed(source, workers):
    (source / "2.png").write_bytes(b"no picture")
    (source / "11.mp4").write_bytes(miniatures.clip(sound=False))
    summary = pack(source, check=True, on_error="skip", workers=workers, shard_size=3)
    assert {name: (s.samples, list(s.skipped)) for name, s in summary.items()} == {
        "train": (8, ["k2"]),
        "test": (2, ["k11"]),
    }
    listed = [json.loads(line) for line in (source / "shards/skipped.jsonl").read_text().splitlines()]
    assert [(s["key"], s["split"], s["modality"]) for s in listed] == [
        ("k2", "train", "picture"),
        ("k11", "test", "sound"),
    ]
    assert listed[1]["reason"] == "the file has no audio stream"
    assert list(members(source)) == [f"k{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8)]
    assert read_dataset(str(source / "shards")).classes["cat"] == {"train": 4, "test": 1}
    pack(source, overwrite=True)  # the report counts as part of the data set
    assert not (source / "shards/skipped.jsonl").exists()


def test_skipped_samples_survive_an_interruption(source):
    (source / "1.png").write_bytes(b"no picture")
    how = {"check": True, "on_error": "skip", "shard_size": 2}
    expected = pack(source, "whole", **how)

    def interrupt(done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, progress=interrupt, **how)
    assert pack(source, **how) == expected
    assert content(source / "shards") == content(source / "whole")


@pytest.mark.slow
def test_a_killed_packing_leaves_no_process_and_goes_on(source):
    rows = [json.loads(line) for line in (source / "m.jsonl").read_text().splitlines()]
    write(source, [{**row, "key": f"{row['key']}-{n}"} for n in range(40) for row in rows])
    command = [sys.executable, "-m", "u2a", "data", "pack", str(source / "mixed.toml"), "--workers", "2"]
    command += ["--manifest", str(source / "m.jsonl"), "--shard-size", "20", "--image-side", "24"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    stage = source / ".shards.packing"

    def finished() -> list[str]:
        """The shards that are recorded; between a shard's last byte and its record, a kill costs that shard."""
        if not (stage / "journal.json").exists():
            return []
        splits = json.loads((stage / "journal.json").read_text())["splits"].values()
        return [entry["name"] for split in splits for entry in split["entries"]]

    while process.poll() is None and len(finished()) < 2:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)  # returns when the workers, too, have closed their end
    kept = {name: (stage / name).stat().st_mtime_ns for name in finished()}
    assert len(kept) >= 2
    pack(source, shard_size=20, check=True, recode=Recode(image_side=24))
    made = {path.name: path.stat().st_mtime_ns for path in (source / "shards").glob("*.tar")}
    assert kept.items() <= made.items()


def test_a_split_of_which_nothing_is_left(source):
    for n in (9, 10, 11):
        (source / f"{n}.png").write_bytes(b"no picture")
    with pytest.raises(U2AError, match="no sample of split 'test' can be used"):
        pack(source, check=True, on_error="skip")


def test_an_encoder_that_is_not_there(source):
    recipe = load_recipe(source / "mixed.toml", ["modalities.text.encoder=./nowhere"])
    with pytest.raises(U2AError, match="--no-check packs without"):
        pack_manifest(recipe, source / "m.jsonl", source / "shards", check=True)
    pack_manifest(recipe, source / "m.jsonl", source / "shards")


def test_re_encoded_shards(source):
    pack(source, check=True, recode=Recode(24, 8000))
    for n, (key, found) in enumerate(members(source).items()):
        assert key == f"k{n}"
        image = Image.open(io.BytesIO(found["picture"]))
        assert (image.format, image.size) == ("JPEG", (30, 24))
        before = np.asarray(tiny.picture(60, 48, n).resize((30, 24), Image.Resampling.LANCZOS), float)
        assert np.abs(np.asarray(image, float) - before).mean() < 6
        assert found["film"] == (source / f"{n}.mp4").read_bytes()
        if n % 2:
            assert found["sound"] == found["film"]
        else:
            wave, rate = soundfile.read(io.BytesIO(found["sound"]))
            assert (rate, wave.ndim, len(wave)) == (8000, 1, 4000)
            spectrum = np.abs(np.fft.rfft(wave))
            assert abs(np.argmax(spectrum) * rate / len(wave) - 440) < 4


def test_shards_of_another_re_encoding_are_made_anew(source):
    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, shard_size=2, progress=interrupt)
    pack(source, shard_size=2, recode=Recode(24))
    assert {Image.open(io.BytesIO(found["picture"])).size for found in members(source).values()} == {(30, 24)}


def test_a_file_of_two_modalities_is_re_encoded_as_both_read_it(tmp_path):
    (tmp_path / "a.wav").write_bytes(tiny.sound_bytes(tiny.tone(0.5)))
    cell = Cell("wav", tmp_path / "a.wav")
    for second, wanted in ((("wav", "flac"), "one.flac"), (("wav",), "one.wav")):
        extensions = {"one": ("flac", "wav"), "two": second}
        packer = RowPacker(True, extensions, None, Recode(audio_rate=8000), False)
        packed = packer[Row(1, "k", "train", ("cat",), {"one": cell, "two": cell})]
        ((name, member),) = packed.members.items()
        assert name == wanted
        assert soundfile.info(io.BytesIO(member)).samplerate == 8000
        assert packed.sample.members == {"two": wanted}


def test_a_pointer_of_git_lfs_is_no_picture(source):
    (source / "3.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(U2AError, match=r"3\.png: picture: is a Git LFS pointer, .* git lfs pull"):
        pack(source)


ALL = Recode(16, 8000)


@pytest.mark.parametrize("extension", ["txt", "nii", "gif", "mp4"])
def test_other_files_stay_as_they_are(extension):
    assert ALL(extension, b"anything", (extension, "jpg", "mp4", "flac")) == (extension, b"anything")


def test_nothing_is_made_larger():
    image = tiny.image_bytes(tiny.picture())
    sound = tiny.sound_bytes(tiny.tone(0.2), format="FLAC")
    big = Recode(500, 48_000)
    assert big("png", image, ("png", "jpg")) == ("png", image)
    assert big("flac", sound, ("flac",)) == ("flac", sound)
    kind, stereo = big("wav", tiny.sound_bytes(np.stack([tiny.tone(0.2)] * 2, 1)), ("wav",))
    assert kind == "wav"
    assert soundfile.info(io.BytesIO(stereo)).samplerate == 16000
    assert soundfile.info(io.BytesIO(stereo)).channels == 1


def test_pictures_that_jpeg_would_destroy():
    depth = tiny.image_bytes(Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40))
    assert ALL("png", depth, ("png", "jpg")) == ("png", depth)
    kind, member = ALL("png", tiny.image_bytes(tiny.picture()), ("png",))
    assert (kind, Image.open(io.BytesIO(member)).format) == ("png", "PNG")
    clear = tiny.image_bytes(Image.new("RGBA", (60, 40), (255, 0, 0, 0)))
    kind, member = ALL("png", clear, ("png", "jpeg"))
    assert kind == "jpeg"
    assert np.asarray(Image.open(io.BytesIO(member))).min() > 250  # transparent is white


@pytest.mark.parametrize("extension", ["jpg", "wav"])
def test_what_cannot_be_re_encoded(extension):
    with pytest.raises(BadSample):
        ALL(extension, b"rubbish" * 40, ("jpg", "flac", "mp4"))


def test_the_command(source):
    (source / "2.png").write_bytes(b"no picture")
    command = ["pack", str(source / "mixed.toml"), "--manifest", str(source / "m.jsonl"), "--image-side", "24"]
    failed = CliRunner().invoke(data, command)
    assert failed.exit_code == 2
    assert "2.png: picture: " in failed.stderr
    assert not (source / "shards").exists()
    done = CliRunner().invoke(data, [*command, "--on-error", "skip", "--workers", "2"])
    assert done.exit_code == 0, done.output
    assert "1  skipped: undecodable, listed in" in done.stdout
    image = Image.open(io.BytesIO(members(source)["k0"]["picture"]))
    assert image.size == (30, 24)


def test_an_exception_of_a_plugin_is_its_samples_error(source, monkeypatch):
    from u2a_image.preprocess import ImagePreprocessor

    inner = ImagePreprocessor.__call__

    def fails_once(self, member, **how):
        if member == (source / "2.png").read_bytes():
            raise KeyError("what nobody foresaw")
        return inner(self, member, **how)

    monkeypatch.setattr(ImagePreprocessor, "__call__", fails_once)
    summary = pack(source, check=True, on_error="skip")
    modality, reason = summary["train"].skipped["k2"]
    assert modality == "picture"
    assert "plugin 'image' of u2a" in reason
    assert "KeyError: 'what nobody foresaw'" in reason
    assert summary["train"].samples == 8
