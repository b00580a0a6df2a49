"""Files that the tool has never seen, as people have them, through the packaged quickstart encoders."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from click.testing import CliRunner
from PIL import Image

from u2a.cli.main import main
from u2a.common.distributed import World
from u2a.errors import BadSample
from u2a.evaluation.predict import Prediction, Predictor
from u2a.plugins.loading import registry
from u2a.recipe.file import load_recipe
from u2a.recipe.shipped import shipped_recipes
from u2a.runs.build import build_model


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    recipe = load_recipe(shipped_recipes()["quickstart"], ["training.device=cpu"])
    made = {name: registry().spec(o.kind).preprocessor(o) for name, o in recipe.modalities.items()}
    place = World(0, 1, 0, 1, torch.device("cpu"))
    return Predictor(build_model(recipe).eval(), recipe, made, place)


def predict(predictor: Predictor, **values: object) -> Prediction:
    (prediction,) = predictor.predict([predictor.read(values)])
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
    return prediction


def distance(predictor: Predictor, name: str, one: object, other: object) -> float:
    """How far apart what the encoder would see of two values is: the mean absolute difference."""
    (a, b) = (predictor.read({name: value})[name] for value in (one, other))
    pairs = [(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor)]
    return max(float((x - y).abs().mean()) for x, y in pairs)


def save(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_pictures_as_people_have_them_give_what_the_plain_one_gives(
    predictor: Predictor, tmp_path: Path
) -> None:
    plain = tiny.picture(120, 90)
    wrong = distance(predictor, "image", plain, plain.rotate(180))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    sideways = tiny.image_bytes(plain.rotate(90, expand=True), "JPEG", exif=exif, quality=98, subsampling=0)
    white = Image.new("RGBA", (120, 90), (0, 0, 0, 0))
    white.paste(plain)
    files = {
        "photo.JPG": tiny.image_bytes(plain, "JPEG", quality=98, subsampling=0),
        "rotated.jpg": sideways,
        "print.jpg": tiny.image_bytes(plain.convert("CMYK"), "JPEG", quality=98),
        "opaque.png": tiny.image_bytes(white),
        "lossless.webp": tiny.image_bytes(plain, "WEBP", lossless=True),
    }
    for name, content in files.items():
        path = save(tmp_path, name, content)
        assert distance(predictor, "image", plain, path) < wrong / 15, name
        assert predict(predictor, image=path).used == ("image",)


def test_odd_sizes_and_transparency(predictor: Predictor, tmp_path: Path) -> None:
    for size in ((1, 1), (3, 500), (501, 7)):
        predict(predictor, image=save(tmp_path, "odd.png", tiny.image_bytes(tiny.picture(*size))))
    clear, white = Image.new("RGBA", (50, 50), (255, 0, 0, 0)), Image.new("RGB", (50, 50), "white")
    assert distance(predictor, "image", clear, white) == 0


def test_sounds_as_people_have_them_give_what_the_plain_one_gives(predictor: Predictor, tmp_path: Path) -> None:
    wave = tiny.tone(1.0, 44100)
    plain, stereo = (wave, 44100), np.stack([wave, wave], 1)
    wrong = distance(predictor, "audio", (wave, 16000), plain)  # as if the rate were ignored
    files = {
        "stereo.wav": tiny.sound_bytes(stereo, 44100),
        "music.mp3": tiny.sound_bytes(wave, 44100, "MP3"),
        "voice.flac": tiny.sound_bytes(wave, 44100, "FLAC"),
    }
    for name, content in files.items():
        path = save(tmp_path, name, content)
        lossy = 2 if name.endswith("mp3") else 20
        assert distance(predictor, "audio", path, plain) < wrong / lossy, name
        assert predict(predictor, audio=path).used == ("audio",)


def test_a_film_from_a_phone_serves_as_video_and_as_audio(predictor: Predictor, tmp_path: Path) -> None:
    content = tiny.clip_bytes(tiny.numbered_frames(9, 50, 90), tiny.tone(1.2), format="mov")
    film = save(tmp_path, "film.MOV", content)
    prediction = predict(predictor, video=film, audio=film, text="coal, no hurry")
    assert prediction.used == ("audio", "text", "video")
    assert prediction.filled == ("image",)


@pytest.mark.parametrize("name", ["x.png", "x.wav", "x.mp4"])
def test_nonsense_is_one_clear_line_with_the_file(predictor: Predictor, tmp_path: Path, name: str) -> None:
    modality = {"x.png": "image", "x.wav": "audio", "x.mp4": "video"}[name]
    path = save(tmp_path, name, b"this is a text file")
    with pytest.raises(BadSample, match=name) as caught:
        predictor.read({modality: path})
    assert str(caught.value).count("\n") == 0
    with pytest.raises(BadSample, match="empty"):
        predictor.read({modality: save(tmp_path, name, b"")})


def test_a_picture_that_would_fill_the_memory_is_refused(predictor: Predictor) -> None:
    bomb = io.BytesIO()
    Image.new("1", (30000, 30000)).save(bomb, "PNG")
    with pytest.raises(BadSample):
        predictor.read({"image": bomb.getvalue()})


def test_the_command_needs_a_value_or_a_manifest() -> None:
    for arguments in ([], ["--image"], ["--image", "a.png", "--image", "b.png"], ["a", "b", "--image", "x"]):
        result = CliRunner().invoke(main, ["predict", *arguments])
        assert result.exit_code == 2, json.dumps(arguments)
        assert "Traceback" not in result.output
