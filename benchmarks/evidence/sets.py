"""The study's data sets: where their samples come from, and recipes of data, classes and encoders alone.

The development folder (``../shared`` beside the repository, or ``$U2A_SHARED``) holds four of them; the
quickstart's is made from a seed. A set whose folder is absent is left out, with a line that says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from benchmarks.evidence import emoji, stamps

SHARED = Path(os.environ.get("U2A_SHARED", Path(__file__).resolve().parents[3] / "shared"))
DINO, MINILM, AST = (
    str(SHARED / "encoders" / name) for name in ("dinov2_small", "minilm_l6", "ast_speech_tiny")
)
Row = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """One set of the study.

    Attributes:
        source: its folder under ``data/`` of the development folder; "" for the quickstart; or the
            module of this package that makes them.
        modalities: modality to its table in the recipe.
        sizes: how many samples of each split are taken, in a seeded order; a split that is not named: all.
        noise: deviation of white noise added to sounds, relative to their own, and to pictures, of 255.
        seeds: as many trainings of the defaults; the other arms have the first.
        arms: the arms that are run on it; all if None.
    """

    name: str
    source: str
    modalities: dict[str, dict[str, Any]]
    kind: str = "single_label"
    sizes: dict[str, int] = field(default_factory=dict)
    noise: float = 0.0
    seeds: tuple[int, ...] = (0, 1, 2)
    arms: tuple[str, ...] | None = None

    @property
    def lacks(self) -> str:
        """What it needs and is not at hand; "" if nothing."""
        if self.source in MADE:
            folder = MADE[self.source][0]
            if not folder.is_dir():
                return f"{folder} is not there"
            return "" if find_spec("cairosvg") else "its drawings need cairosvg: pip install cairosvg"
        manifest = SHARED / "data" / self.source / "manifest.jsonl"
        return "" if not self.source or manifest.is_file() else f"{manifest} is not there"


MAIN = ("paper", "paper, exhaustive", "head start", "mean fill", "default")
IMAGE_TEXT = {
    "image": {"encoder": DINO, "resolution": 70},
    "text": {"encoder": MINILM, "max_length": 16},
}
DIGITS = {"audio": {"encoder": AST}, "image": {"encoder": DINO, "resolution": 56, "flip": False}}
FILM = {
    "audio": {"encoder": AST, "max_length": 512},
    "video": {"encoder": DINO, "resolution": 112, "frames": 3},
}
POSTERS = {
    "image": {"encoder": DINO, "resolution": 112},
    "text": {"encoder": MINILM, "max_length": 128},
}
TAGGED = {**IMAGE_TEXT, "text": {"encoder": MINILM, "max_length": 32}}
STAMPED = {**IMAGE_TEXT, "audio": {"encoder": AST}}
MADE = {"stamps": (stamps.STAMPS, stamps.manifest), "emoji": (emoji.EMOJI, emoji.manifest)}
FEW = {"train": 500, "val": 300, "test": 1000}
SETS = (
    DataSet("digits_few", "av_digits", DIGITS, sizes=FEW),
    DataSet("drawings", "drawings", IMAGE_TEXT, arms=MAIN),
    DataSet("digits_noisy", "av_digits", DIGITS, sizes=FEW, noise=0.5, arms=MAIN),
    DataSet("quickstart", "", {}, arms=MAIN),
    DataSet("stamps", "stamps", STAMPED, arms=("head start", "default"), seeds=(0,)),
    DataSet("emoji", "emoji", TAGGED, arms=("head start", "default", "dedicated"), seeds=(0,)),
    DataSet("clips", "clips", FILM, arms=MAIN),
    DataSet("movies", "movies", POSTERS, kind="multi_label", seeds=(0,), arms=("head start", "default")),
    DataSet("av_digits", "av_digits", DIGITS, seeds=(0,), arms=("head start", "default")),
)


def prepare(data: DataSet, work: Path) -> Path:
    """Pack the set's shards below `work` unless they are there; returns its recipe."""
    recipe = work / "recipes" / f"{data.name}.toml"
    shards = work / "shards" / data.name
    if not data.source:
        return _quickstart(recipe, shards)
    manifest = SHARED / "data" / data.source / "manifest.jsonl"
    if data.source in MADE:
        manifest = MADE[data.source][1](work / "rows" / data.name)
    rows = list(_rows(data, manifest))
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(_recipe(data, rows, shards), encoding="utf-8")
    if not (shards / "dataset.json").is_file():
        if data.sizes or data.noise:
            manifest = _own_manifest(data, rows, work / "rows" / data.name)
        u2a("data", "pack", str(recipe), "--manifest", str(manifest), "--ignore", "speaker")
    return recipe


def u2a(*arguments: str) -> None:
    """Run the command line in a process of its own."""
    subprocess.run([sys.executable, "-m", "u2a", *arguments], check=True)


def _quickstart(recipe: Path, shards: Path) -> Path:
    shipped = (Path(__file__).parents[2] / "recipes" / "quickstart.toml").read_text(encoding="utf-8")
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(shipped.replace("../shards/quickstart", str(shards)), encoding="utf-8")
    if not (shards / "dataset.json").is_file():
        u2a("quickstart", "--out", str(shards))
    return recipe


def _rows(data: DataSet, manifest: Path) -> Iterator[Row]:
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    order = np.random.default_rng(0).permutation(len(rows))
    taken: Counter[str] = Counter()
    for row in (rows[i] for i in order) if data.sizes else rows:
        split = row["split"]
        taken[split] += 1
        if taken[split] <= data.sizes.get(split, len(rows)):
            yield row


def _recipe(data: DataSet, rows: list[Row], shards: Path) -> str:
    counts = {label for row in rows for label in row.get("labels", [row.get("label")])}
    tables = [
        f"[modalities.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in data.modalities.items()
    ]
    classes = json.dumps(sorted(counts), ensure_ascii=False)
    head = f'name = "{data.name}"\n[data]\nshards = {json.dumps(str(shards))}\n'
    return f'{head}[task]\nkind = "{data.kind}"\nclasses = {classes}\n' + "".join(tables)


def _own_manifest(data: DataSet, rows: list[Row], folder: Path) -> Path:
    """A manifest of the chosen rows, whose files are linked or made noisy."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number, row in enumerate(rows):
        for name in data.modalities:
            source = SHARED / "data" / data.source / row[name]
            row[name] = f"{number:05d}.{name}{source.suffix}"
            _copy(source, folder / row[name], data.noise, draw)
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _copy(source: Path, target: Path, noise: float, draw: np.random.Generator) -> None:
    if not noise:
        target.write_bytes(source.read_bytes())
        return
    make: dict[str, Callable[[], None]] = {
        ".wav": lambda: _noisy_sound(source, target, noise, draw),
        ".png": lambda: _noisy_picture(source, target, noise, draw),
    }
    make[source.suffix]()


def _noisy_sound(source: Path, target: Path, noise: float, draw: np.random.Generator) -> None:
    wave, rate = soundfile.read(source)
    soundfile.write(target, np.clip(wave + noise * wave.std() * draw.normal(size=wave.shape), -1, 1), rate)


def _noisy_picture(source: Path, target: Path, noise: float, draw: np.random.Generator) -> None:
    pixels = np.asarray(Image.open(source), float)
    noisy = pixels + 255 * noise * draw.normal(size=pixels.shape)
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(target)
