"""What the exported program reads without any library of u2a's: beside u2a's own preprocessors."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from u2a.errors import U2AError
from u2a.plugins.loading import registry
from u2a_export.card import card

standalone = pytest.importorskip("u2a_export.standalone", reason="onnxruntime is not installed: u2a[export]")

TEXTS = [
    "Hello, WORLD! don't stop",
    "[SEP] typed, [MASK] too",
    "naïve café, e\u0301 ÀÉ",
    "ΣΑΣ ΟΔΟΣ İstanbul",
    "漢字 and かな 𠀀",
    "x" * 101 + " y",
    "tab\tnew\nline\u200b\u00ad\u3000wide",
    "$5+3=8 <b>|^`~",
    "one " * 50,
    "sea",
]


@pytest.fixture(scope="module")
def bert(checkpoints: dict[str, Path]) -> Any:
    spec = registry().spec("text")
    return spec.preprocessor(spec.options(kind="text", encoder=str(checkpoints["bert"]), max_length=12))


def test_texts_become_the_same_tokens(bert: Any, tmp_path: Path) -> None:
    constants = bert.constants()
    assert constants["reader"] == "wordpiece"
    file = tmp_path / "tokenizer.json"
    file.write_text(constants["files"]["tokenizer.json"])
    draw = random.Random(0)
    letters = [*"abcdefghij .,!-'\u2014", *map(chr, range(0xA1, 0x250)), *map(chr, range(0x391, 0x3CA))]
    texts = [*TEXTS, *("".join(draw.choices(letters, k=draw.randrange(1, 30))) for _ in range(300))]
    for text in texts:
        try:
            wanted = bert(text.encode(), train=False, seed=0)["input_ids"].tolist()
        except ValueError:
            continue  # nothing that anybody sees
        found = standalone.tokens(text, constants, file)
        assert found["input_ids"].tolist() == [wanted], text
        assert found["attention_mask"].shape == (1, len(wanted))


def test_a_tokenizer_that_is_not_berts_is_read_by_its_library(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    from u2a_text.tokenizer import is_word_piece

    file = tiny.save_unigram(tmp_path) / "tokenizer.json"
    assert not is_word_piece(Tokenizer.from_file(str(file)))
    constants = {"reader": "tokenizer", "max_length": 12, "padding": 1, "longest": 8, "special": [0, 2]}
    found = standalone.tokens("red ship", constants, file)["input_ids"][0].tolist()
    wanted = Tokenizer.from_file(str(file)).encode("red ship").ids
    assert found == [*wanted, *[1] * (8 - len(wanted))]


def pictures() -> dict[str, Image.Image]:
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = tiny.picture(90, 70).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((90, 70)))
    turned = tiny.picture(150, 90)
    turned.info["exif"] = exif.tobytes()
    return {
        "wide": tiny.picture(150, 90),
        "high": tiny.picture(60, 131),
        "small": tiny.picture(17, 9),
        "exact": tiny.picture(32, 32),
        "grey": tiny.picture(80, 70).convert("L"),
        "palette": tiny.picture(80, 70).convert("P"),
        "clear": clear,
        "turned": turned,
    }


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("change", [{}, {"size": {"height": 40, "width": 36}}, {"crop": 45}], ids=str)
def test_pictures_become_the_same_pixels(
    checkpoints: dict[str, Path], tmp_path: Path, format: str, change: dict[str, Any]
) -> None:
    values = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 3}
    if crop := change.get("crop"):  # larger than what was scaled: black around it
        values["crop_size"] = {"height": crop, "width": crop}
    values |= {"image_mean": tiny.MEAN, "image_std": tiny.STD} | {
        k: v for k, v in change.items() if k != "crop"
    }
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(checkpoints["clip"] / name)
    tiny.write_json(tmp_path, "preprocessor_config.json", values)
    spec = registry().spec("image")
    preprocessor: Any = spec.preprocessor(spec.options(kind="image", encoder=str(tmp_path)))
    constants = preprocessor.constants()
    large = {"photo": tiny.picture(900, 700)} if format == "JPEG" else {}  # decoded at a smaller scale
    for name, picture in (pictures() | large).items():
        saved = picture.convert("RGB") if format == "JPEG" and picture.mode != "L" else picture
        exif = {"exif": picture.info["exif"]} if "exif" in picture.info else {}
        member = tiny.image_bytes(saved, format, **exif)
        wanted = preprocessor(member, train=False, seed=0)["pixel_values"].numpy()
        found = standalone.picture(io.BytesIO(member), constants)["pixel_values"]
        assert found.dtype == np.float32
        levels = np.abs(found[0] - wanted) * np.array(tiny.STD)[:, None, None] * 255
        assert levels.max() < 1.01, name  # a level where two libraries round a pixel otherwise


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_probabilities_are_u2as(kind: Any) -> None:
    from u2a.evaluation.calibration import Calibration, PatternCalibration

    draw = np.random.default_rng(0)
    for slope, shift in ((1.0, 0.0), (0.6, -0.4), (1.7, 0.9), (0.1, -3.0)):
        one = PatternCalibration(9, 1.3, (), (), (), slope, shift)
        own = Calibration(kind, {"any": one})
        for logits in (draw.normal(0, 3, 5).astype(np.float32), np.float32([40, 0, 0, -40, 0])):
            found = standalone.calibrated(logits, vars(one), kind == "multi_label")
            np.testing.assert_allclose(found, own.probabilities(logits[None], "image", 2)[0], atol=1e-12)


def test_what_it_refuses_and_arrays_by_name(bert: Any, tmp_path: Path) -> None:
    """What u2a refuses: from nothing, and from a text of nothing, it would name a class all the same."""
    wanted = {"reader": "wordpiece"}
    rows = {"preprocessing": None, "inputs": {"numbers": {}, "categories": {}}}
    one = {"preprocessing": None, "inputs": {"wave": {}, "attention_mask": {}}}
    modalities = {"self": {"preprocessing": wanted}, "rows": rows, "sound": one}
    (tmp_path / "u2a_export.json").write_text(json.dumps({"modalities": modalities, "task": {}}))
    exported = standalone.Exported(tmp_path)
    for given in ({}, {"pitcure": "a.png"}, {"self": "a boat", "a.png": ""}):
        with pytest.raises(ValueError, match="give any of self, rows, sound, and nothing else: NAME=VALUE"):
            exported.predict(**given)
    for text in ("", " \n", "\u200b\u00ad"):
        with pytest.raises(ValueError, match="the text is empty"):
            exported.predict(self=text)
        with pytest.raises(U2AError, match="text is empty"):
            bert(text.encode(), train=False, seed=0)
    arrays = {"numbers": np.float32([1, 2]), "categories": np.array([3])}
    np.savez(tmp_path / "rows.npz", **arrays)
    np.save(tmp_path / "wave.npy", arrays["numbers"])
    found = exported.read("rows", tmp_path / "rows.npz")
    assert {name: value.tolist() for name, value in found.items()} == {"numbers": [[1, 2]], "categories": [[3]]}
    found = exported.read("sound", tmp_path / "wave.npy")
    assert {name: value.tolist() for name, value in found.items()} == {
        "wave": [[1, 2]],
        "attention_mask": [[1, 1]],
    }


def test_the_card_shows_names_as_they_are_and_what_to_install() -> None:
    def one(reader: str | None, **inputs: Any) -> dict[str, Any]:
        preprocessing = reader and {"reader": reader}
        stated = {name: {"dtype": "float32", "shape": [None, 3]} for name in inputs}
        return {"kind": "k", "base": {}, "preprocessing": preprocessing, "inputs": stated}

    manifest: dict[str, Any] = {
        "name": "odd",
        "u2a": "1",
        "checkpoint": {"which": "best", "step": 3},
        "width": 4,
    }
    manifest |= {"validation": {}, "task": {"kind": "single_label", "classes": ["<b>", "a, b", "`", "x``y"]}}
    manifest["modalities"] = {"plot": one("wordpiece"), "row": one(None, n=1, c=1), "wave": one(None, w=1)}
    said = card(manifest)
    assert said.endswith("\n## Classes\n\n`<b>`, `a, b`, `` ` ``, ```x``y```\n")
    assert (
        'pip install onnxruntime numpy pillow\npython run.py plot="some text" row=row.npz wave=wave.npy' in said
    )
    manifest["modalities"]["plot"] = one("tokenizer")
    assert "pip install onnxruntime numpy pillow tokenizers\n" in card(manifest)
