"""``u2a data inspect``: counts against the files, everything wrong that was planted, escaped pages."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import toys
from click.testing import CliRunner
from PIL import Image

import u2a
from u2a.cli.main import main
from u2a.data.inspection import findings
from u2a.data.packing.pack import pack_manifest
from u2a.errors import BadSample
from u2a.media.probe import draw_wave
from u2a.plugins.loading import registry
from u2a.plugins.registry import Registry
from u2a.recipe import file as recipe_file
from u2a.recipe.file import load_recipe


def run(*args: object) -> str:
    result = CliRunner().invoke(main, ["data", "inspect", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.output


def sound(seconds: float, rate: int) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.sin(np.arange(int(seconds * rate)) / 9) * 9000).astype("<i2").tobytes())
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 10, 10)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """Two splits with everything wrong that inspect knows; a hostile key and text."""
    folder = tmp_path_factory.mktemp("inspect")
    recipe = toys.make(folder, checkpoints)
    train = [toys.row(folder, "train", i, (i != 5, True)) for i in range(20) if i % 4 != 2 or i == 2]
    train = [row for row in train if row["label"] != "film"]
    test = [toys.row(folder, "test", i, (True, True)) for i in range(30, 38)]
    test[0] |= {"key": "<img src=x onerror=alert(1)>", "label": "film", "text": "<script>alert(2)</script>"}
    test[-2] |= {"key": "train-0", "image": "train-0.png", "text": "only here"}
    for name, rows in (("train", train), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        pack_manifest(load_recipe(recipe), folder / f"{name}.jsonl", folder / name)
    shards = '{train = "train/train-000000.tar", test = "test/test-000000.tar"}'
    recipe.write_text(recipe.read_text().replace('"shards"', shards))
    return recipe


def test_counts_and_everything_wrong(odd: Path) -> None:
    report = json.loads(run(odd, "--json"))
    train = report["splits"]["train"]
    assert train["samples"] == 11
    assert train["classes"] == {"sea": 5, "boat": 5, "town": 1, "film": 0}
    assert train["presence"] == {"image + text": 10, "text": 1}
    assert train["formats"] == {"image": {"image": 10}, "text": {"text": 11}}
    assert train["measures"]["image"]["width (px)"] == [44, 44, 44]
    assert train["measures"]["image"]["height (px)"] == [40, 40, 40]
    sizes = [path.stat().st_size for path in odd.parent.glob("train-*.png") if path.stem != "train-5"]
    assert (
        min(sizes)
        <= train["measures"]["image"]["bytes"][0]
        <= train["measures"]["image"]["bytes"][2]
        <= max(sizes)
    )
    wrong = "\n".join(report["wrong"])
    assert "class 'film': never in train, but in test (3)" in wrong
    assert "class 'town': only 1 training sample" in wrong
    assert "class 'sea'" not in wrong
    assert "1 keys are in train and test: 'train-0'" in wrong
    assert "1 image files are the same in train and test: 'train-0'" in wrong
    assert "text files are the same" in wrong


def test_the_page_is_self_contained_and_escaped(odd: Path, tmp_path: Path) -> None:
    page = tmp_path / "g.html"
    said = run(odd, "--gallery", page)
    assert "what looks wrong" in said
    html = page.read_text()
    assert "&lt;script&gt;alert(2)" in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "<script" not in html
    assert "onerror=alert(1)>" not in html
    links = re.findall(r"""<[a-z]+ [^>]*(?:src|href)\s*=\s*["']?([^"'\s>]+)""", html)
    assert links
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert "http:" not in html
    assert "https:" not in html
    assert html.count("data:image/png;base64,") >= 10
    colours = set()
    for link in links:
        with Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as image:
            colours |= set(map(tuple, np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()))
    assert len(colours) > 500  # pictures, not empty tiles


def test_missing_tables_show(odd: Path) -> None:
    said = run(odd, "--split", "train", "--set", "data.missing.rate=0.5")
    assert "train: missing each at rate 0.5, seed 0: 5 of 11 samples" in said
    assert "test:" not in said


def described(kind: str, member: bytes, **options: object) -> u2a.Description:
    spec = registry().specs[kind]
    assert spec.describe
    return spec.describe(spec.options.model_construct(kind=kind, **options), member)


def shown(kind: str, member: bytes, **options: object) -> Image.Image | str:
    spec = registry().specs[kind]
    assert spec.preview
    return spec.preview(spec.options.model_construct(kind=kind, **options), member, 90)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_plugins_describe_their_members() -> None:
    assert described("image", png(30, 20)) == u2a.Description("image", {"width (px)": 30, "height (px)": 20})
    for kind in ("audio", "keyword"):
        assert described(kind, sound(1.5, 8000)).numbers == {"seconds": 1.5, "sound (Hz)": 8000}
    film = tiny.clip_bytes(tiny.numbered_frames(6))
    assert described("video", film).format == "video"
    assert described("video", film).numbers["width (px)"] == tiny.numbered_frames(6).shape[2]
    text = described("text", "drei Wörter hier".encode())
    assert (text.format, text.numbers) == ("text", {"characters": 16, "words": 3})
    depth = described("depth", npy(np.array([[0.5, 2.0], [0.0, 4.0]], np.float32)))
    assert depth.numbers == {
        "width (px)": 2,
        "height (px)": 2,
        "nearest (m)": 0.5,
        "farthest (m)": 4.0,
        "without depth (%)": 25.0,
    }
    columns = {"age": None, "city": None, "size": None}
    row = b'{"age": 3, "city": null, "size": "M", "more": 1}'
    assert described("tabular", row, columns=columns).numbers == {"filled columns": 2}
    vectors = npy(np.array([[1.0, -3.0], [0.0, 6.0], [0.0, 0.0]]))
    assert described("features", vectors, size=2).numbers == {"vectors": 2}  # the last is padding


@pytest.mark.parametrize("kind", ["image", "audio", "video", "text", "depth", "tabular", "keyword", "features"])
def test_what_is_none_of_a_modality_is_told(kind: str) -> None:
    for show in (described, shown):
        with pytest.raises(BadSample):
            show(kind, b"\xff\xfe\0\0\xd8", columns={"a": None}, size=3, longest=4, mean=0.0, std=1.0)


def test_plugins_show_what_the_model_sees() -> None:
    drawn = shown("audio", sound(1.0, 8000))
    assert isinstance(drawn, Image.Image)
    assert drawn.width == 90
    assert shown("text", b"red sea") == "red sea"
    assert shown("tabular", b'{"age": 3, "more": 1}', columns={"age": None}) == "age: 3"
    depth = shown("depth", npy(np.array([[0.5, 2.0, 0.0]], np.float32)), near=0.5, far=4.0)
    assert np.asarray(depth).tolist() == [[255, round(255 * (1 / 2 - 1 / 4) / (2 - 1 / 4)), 0]]
    lines = shown("features", npy(np.array([[5.0, 8.0, 4.0]])), size=3, longest=9, mean=5.0, std=1.0)
    assert np.asarray(lines)[0, ::4].tolist() == [128, 255, 85]  # the mean; 3 and more above; 1 below
    with pytest.raises(BadSample, match="cannot be decoded as an image"):
        shown("image", png(300, 200)[:-40])


def test_a_plugin_that_says_nothing_gets_size_and_type(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a picture nor a text for the core."""
    known = registry()
    silent = Registry(loggers=known.loggers, metrics=known.metrics)
    for name, spec in known.specs.items():
        silent.modalities.add(known.owners[name], replace(spec, describe=None, preview=None))
    monkeypatch.setattr(recipe_file, "registry", lambda: silent)
    report = json.loads(run(odd, "--split", "train", "--gallery", tmp_path / "g.html", "--json"))
    train = report["splits"]["train"]
    assert train["formats"] == {"image": {"png": 10}, "text": {"unknown": 11}}
    assert set(train["measures"]["text"]) == {"bytes"}
    page = (tmp_path / "g.html").read_text()
    assert re.search(r"\([\d,]+ bytes, png\)", page)
    assert re.search(r"\(\d+ bytes, unknown\)", page)
    assert "base64" not in page


def test_a_waveform_is_as_tall_as_the_sound_is_loud() -> None:
    samples = np.concatenate([np.zeros(1000), np.sin(np.arange(1000))]).astype(np.float32)
    pixels = np.asarray(draw_wave(samples, 20, 30).convert("L"))
    dark = (pixels < 128).sum(0)
    assert dark[:10].max() <= 2
    assert dark[11:].min() >= 28


def test_nothing_wrong_is_said(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    recipe = toys.make(tmp_path / "fine", checkpoints, counts={"train": 40})
    assert "nothing looks wrong" in run(recipe)


def test_twins_and_words_for_missing(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    recipe = toys.make(tmp_path, checkpoints)
    rows = [toys.row(tmp_path, "train", i, (True, True)) for i in range(12)]
    rows[3]["image"], rows[5]["text"], rows[7]["text"] = rows[2]["image"], "N/A", "n/a"
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pack_manifest(load_recipe(recipe), tmp_path / "m.jsonl", tmp_path / "shards", overwrite=True)
    wrong = "\n".join(json.loads(run(recipe, "--json"))["wrong"])
    assert "2 samples of train share 1 image files: 'train-2' have twins" in wrong
    assert "train: 1 text members say 'N/A', a word for missing: 'train-5'" in wrong
    assert "train: 1 text members say 'n/a', a word for missing: 'train-7'" in wrong


def test_keys_that_look_alike_are_told_with_their_code_points(tmp_path: Path) -> None:
    """As a Mac and a Linux machine write the same name; shards made elsewhere may hold both."""
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for key in ("caf\u00e9", "cafe\u0301", "tea"):
            for name, content in ((f"{key}.png", png(8, 8)), (f"{key}.cls", b"sea")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    words = [
        "data",
        "index",
        str(tmp_path / "s.tar"),
        "--map",
        "png=image",
        "--label",
        "cls",
        "--split",
        "train",
    ]
    assert CliRunner().invoke(main, words).exit_code == 0
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'name = "r"\ndata = { shards = "." }\ntask = { classes = ["sea", "town"] }\n'
        '[modalities.image]\nencoder = "u2a:quickstart/image"\n'
    )
    wrong = "\n".join(json.loads(run(recipe, "--json"))["wrong"])
    assert "1 keys are twice in train: \"caf\u00e9 (as 'cafe\\\\u0301', too)\"" in wrong


FEW = 'name = "few"\ndata = { shards = "shards" }\n[task]\nclasses = ["sea", "boat", "town"]\n'
FEW += '[modalities.text]\nencoder = "tiny/bert"\n'


def test_numbers_are_of_the_samples_that_have_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sample has a picture alone, which the recipe does not know; classes come in another order."""
    (tmp_path / "few.toml").write_text(FEW)
    (tmp_path / "wide.toml").write_text(FEW + '[modalities.image]\nencoder = "tiny/vit"\n')
    (tmp_path / "a.png").write_bytes(b"a picture")
    texts = {"b": ("town", "x"), "c": ("boat", "xy"), "d": ("boat", "x" * 12), "e": ("town", "xyz")}
    rows = [{"key": "a", "split": "train", "label": "sea", "image": "a.png"}]
    rows += [{"key": k, "split": "train", "label": label, "text": text} for k, (label, text) in texts.items()]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pack_manifest(load_recipe(tmp_path / "wide.toml"), tmp_path / "m.jsonl", tmp_path / "shards")
    recipe = load_recipe(tmp_path / "few.toml")
    split = findings.open_splits(recipe)["train"]
    assert (len(split), split.keys()) == (4, list("bcde"))
    assert split.sizes().tolist() == [[1], [2], [12], [3]]
    assert [split.members(i, ["text"])["text"].decode() for i in range(4)] == [t for _, t in texts.values()]
    assert findings.labels_of(split) == [split.labels(i) for i in range(4)] == [(2,), (1,), (1,), (2,)]
    found = findings.inspect(recipe, {"train": split}).splits["train"]
    assert found.classes == {"sea": 0, "boat": 2, "town": 2}
    assert found.measures["text"]["characters"] == (1, 2.5, 12)  # the median
    monkeypatch.setattr(findings, "PROBED", 2)  # the first and the last, of many
    found = findings.inspect(recipe, {"train": split}).splits["train"]
    assert found.measures["text"]["characters"] == (1, 2, 3)
    assert found.measures["text"]["bytes"] == (1, 2.5, 12)  # which costs no opening
