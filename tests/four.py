"""A toy data set of four modalities (two pictures, two texts) and trained runs of it, for report tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import tiny
from click.testing import CliRunner

from u2a.cli.main import main
from u2a.data.packing.pack import pack_manifest
from u2a.recipe.file import load_recipe

#: Class names are untrusted text: markup, mathtext and letters that not every font has.
CLASSES = ("sea", "<b>boat</b>", "$town$ & co", "フィルム")
WORDS = ("sea", "boat")
MODALITIES = ("left", "right", "title", "plot")
RECIPE = """
name = "four"
[data]
shards = "shards"
workers = 0
[task]
select_on = "complete"
kind = "{kind}"
classes = {classes}
[modalities.left]
kind = "image"
encoder = "./vit"
resolution = 32
[modalities.right]
kind = "image"
encoder = "./vit"
resolution = 32
[modalities.title]
kind = "text"
encoder = "./bert"
max_length = 12
[modalities.plot]
kind = "text"
encoder = "./bert"
max_length = 12
[model]
fusion = "sum"
[training]
head_start = false
modality_dropout = "auto"
detach_target = false
weight_decay = 0.02
clip_norm = 0
patience = 0
batch_size = 8
epochs = 2
warmup_epochs = 0
lr = 1e-2
device = "cpu"
"""


def make(folder: Path, checkpoints: dict[str, Path], *, multi_label: bool = False, gaps: bool = False) -> Path:
    """Write a data set of 24 training and 20 test samples and its recipe; returns the recipe's path.

    Args:
        gaps: some samples lack modalities; the first of each four has ``left`` alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vit", "bert"):
        shutil.copytree(checkpoints[name], folder / name)
    kind = "multi_label" if multi_label else "single_label"
    recipe = folder / "four.toml"
    recipe.write_text(RECIPE.format(kind=kind, classes=json.dumps(CLASSES)), encoding="utf-8")
    rows = [
        _row(folder, split, i, multi_label, gaps)
        for split, n in {"train": 24, "test": 20}.items()
        for i in range(n)
    ]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pack_manifest(load_recipe(recipe), manifest, folder / "shards", shard_size=9)
    return recipe


def _row(folder: Path, split: str, i: int, multi_label: bool, gaps: bool) -> dict[str, object]:
    label, key = i * 7 % 4, f"{split}-{i:02d}"
    labels = [CLASSES[label], *([CLASSES[(label + 1) % 4]] if i % 3 == 0 else [])]
    cells: dict[str, object] = {"key": key, "split": split}
    cells |= {"labels": labels} if multi_label else {"label": CLASSES[label]}
    for m, name in enumerate(MODALITIES):
        if gaps and m and i % 4 == 0:
            continue
        bit = (
            label >> m % 2 ^ (i * 5 + m) % 11 // 9
        ) & 1  # each tells one half of the label, now and then wrong
        if m < 2:
            noise = np.random.default_rng(10 * i + m).integers(0, 60, (34, 36, 3))
            picture = tiny.Image.fromarray((noise + 120 * bit).astype(np.uint8))
            (folder / f"{key}-{name}.png").write_bytes(tiny.image_bytes(picture))
            cells[name] = f"{key}-{name}.png"
        else:
            cells[name] = f"the old {WORDS[bit]} " + "and friends find " * (i % 3)
    return cells


def train(recipe: Path, folder: Path, *sets: str) -> Path:
    """Train a run with the command itself; returns the run folder."""
    options = [part for value in sets for part in ("--set", value)]
    invoke("train", str(recipe), "--run", str(folder), *options)
    return folder


def invoke(*args: object, code: int = 0) -> str:
    """Run a command; returns what it printed (of errors, too)."""
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output
