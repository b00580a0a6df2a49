"""A toy data set of real files and a recipe over tiny checkpoints, for tests that train."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from u2a.data.packing.pack import pack_manifest
from u2a.recipe.file import load_recipe

WORDS = ("sea", "boat", "town", "film")
RECIPE = """
name = "toy"
[data]
shards = "shards"
workers = 0
[task]
select_on = "complete"
classes = ["sea", "boat", "town", "film"]
[modalities.image]
encoder = "./clip"
resolution = 32
[modalities.text]
encoder = "./bert"
max_length = 12
[model]
fusion = "sum"
lora_dropout = 0.0
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
lr_factors.lora = 1.0
device = "cpu"
"""

Presence = Callable[[int], tuple[bool, bool]]


def make(
    folder: Path,
    checkpoints: dict[str, Path],
    *,
    counts: dict[str, int] | None = None,
    presence: Presence = lambda i: (True, True),
    dropout: float = 0.0,
    shard_size: int = 10,
    text: Callable[[int], str] | None = None,
) -> Path:
    """Write checkpoints, files, manifest, shards and ``toy.toml``; returns the recipe's path.

    Args:
        counts: samples of each split.
        presence: (image, text) of the i-th sample of a split.
        dropout: of BERT, the only one of the two encoders with any.
        text: the text of the i-th sample of a split, in place of the toy's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(checkpoints["clip"], folder / "clip")
    shutil.copytree(checkpoints["bert"], folder / "bert")
    config = json.loads((folder / "bert/config.json").read_text())
    config |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    (folder / "bert/config.json").write_text(json.dumps(config))
    (folder / "toy.toml").write_text(RECIPE)
    rows = [
        row(folder, split, i, presence(i), text)
        for split, n in (counts or {"train": 20, "test": 8}).items()
        for i in range(n)
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    pack_manifest(
        load_recipe(folder / "toy.toml"), folder / "manifest.jsonl", folder / "shards", shard_size=shard_size
    )
    return folder / "toy.toml"


def row(
    folder: Path,
    split: str,
    i: int,
    present: tuple[bool, bool],
    text: Callable[[int], str] | None = None,
) -> dict[str, object]:
    """One line of the manifest: a picture whose brightness, and a text whose word, tell the class."""
    label, key = i % 4, f"{split}-{i}"
    cells: dict[str, object] = {"key": key, "split": split, "label": WORDS[label]}
    if present[0]:
        noise = np.random.default_rng(i).integers(0, 40, (40, 44, 3))
        Image.fromarray((noise + 50 * label).astype(np.uint8)).save(folder / f"{key}.png")
        cells["image"] = f"{key}.png"
    if present[1]:
        own = " ".join(["the old", WORDS[label], "and two friends"[: 3 + i % 10]])
        cells["text"] = text(i) if text else own
    return cells
