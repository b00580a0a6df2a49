"""Which training samples a recipe holds out: whole groups, of those samples that it uses."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from u2a.data.feeding.held_out import held_out
from u2a.data.packing.pack import pack_manifest
from u2a.data.reading.opening import evaluation_split
from u2a.recipe.file import load_recipe

IMAGE = '[modalities.image]\nencoder = "tiny/vit"\n'
TEXT = '[modalities.text]\nencoder = "tiny/bert"\n'
HEAD = 'name = "people"\n[data]\nshards = "shards"\n[task]\nclasses = ["cat", "dog"]\n'


def recipe(folder: Path, name: str, modalities: str) -> Path:
    (folder / name).write_text(HEAD + modalities)
    return folder / name


def test_no_person_is_on_both_sides_also_where_samples_are_left_out(tmp_path: Path) -> None:
    """Samples 0, 4, 8, ... have no picture; a recipe of pictures alone counts its own samples."""
    rows = []
    for i in range(36):
        row = {"key": f"k{i:02}", "split": "train", "label": ("cat", "dog")[i % 2], "group": f"person {i // 3}"}
        if i % 4:
            Image.new("RGB", (8, 8), (i, 7, 9)).save(tmp_path / f"{i}.png")
            row["image"] = f"{i}.png"
        rows.append({**row, "text": f"words {i}"})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = recipe(tmp_path, "both.toml", IMAGE + TEXT)
    pack_manifest(load_recipe(both), tmp_path / "m.jsonl", tmp_path / "shards", shard_size=7)
    for file, places in (
        (both, range(36)),
        (recipe(tmp_path, "i.toml", IMAGE), [i for i in range(36) if i % 4]),
    ):
        for seed in range(6):
            chosen = load_recipe(file, ["data.holdout=0.3", f"seed={seed}"])
            train = evaluation_split(chosen, "train")
            assert train.keys() == [f"k{i:02}" for i in places]
            held_N, together = held_out(train, chosen)
            assert together
            assert len(held_N) == len(places)
            sides: dict[bool, set[int]] = {True: set(), False: set()}
            for i, held in zip(places, held_N.tolist(), strict=True):
                sides[held].add(i // 3)
            assert not sides[True] & sides[False]
            assert 0.3 * len(places) - 3 < held_N.sum() <= round(0.3 * len(places))
