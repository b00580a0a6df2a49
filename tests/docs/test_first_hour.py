"""The blocks of docs/first-hour.md, run as they are printed, in a folder with the files that they name."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tiny
from processes import python

PAGE = (Path(__file__).parents[2] / "docs/first-hour.md").read_text()
OFFLINE = ["--encoder", "image=u2a:quickstart/image"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def commands(block: str) -> list[list[str]]:
    return [shlex.split(line.removeprefix("$ "), comments=True)[1:] for line in block.splitlines()]


def run(folder: Path, *words: str) -> str:
    done = python(*words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(10):
            picture = tiny.picture(48, 40, i + 10 * (label == "dog"))
            (tmp_path / "photos" / label / f"{i}.jpg").write_bytes(tiny.image_bytes(picture, "JPEG"))
    return tmp_path


def test_there_are_no_other_blocks() -> None:
    assert len(re.findall(r"^```", PAGE, re.M)) == 2 * (len(blocks("console")) + len(blocks("python"))) == 6


def test_the_first_command_and_the_way_from_python(folder: Path) -> None:
    said = run(folder, "-m", "u2a", *commands(blocks("console")[0])[0])
    assert "label: 2 classes (cat, dog), 10 samples each" in said
    assert "split drawn by class (seed 0): train 14, val 3, test 3" in said
    assert "batch_size = 2  # of 14 training samples" in (folder / "photos.toml").read_text()
    code = blocks("python")[0] + "\nprint(repr(model), model.evaluate(drop='text'), sep='\\n')"
    code += "\nprint(model.predict([{'text': 'asleep'}])[0].filled, model.explain({'text': 'asleep'}))"
    said = run(folder, "-c", code)
    assert "Model(runs/pets-001: image, text; 2 classes" in said
    assert "Scenario(without text: " in said
    assert "('image',) Explanation(" in said


@pytest.mark.slow
def test_from_class_folders_to_a_report(folder: Path) -> None:
    """Without the network that `--size` needs, for which the page names a way."""
    lines = [commands(blocks("console")[0])[1] + OFFLINE, *commands(blocks("console")[1])]
    for words in lines:
        run(folder, "-m", "u2a", *words)
    reports = sorted(str(path.relative_to(folder)) for path in folder.glob("runs/*/report/report.html"))
    assert reports == ["runs/photos/report/report.html", "runs/trial/report/report.html"]
