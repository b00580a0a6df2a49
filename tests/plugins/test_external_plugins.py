"""In a fresh environment with u2a as a wheel: plugins come, train, evaluate without a modality, and go."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from fresh import ROOT, Environment, build_wheel
from PIL import Image

pytestmark = pytest.mark.slow

RECIPE = """
name = "{name}"
[data]
shards = "shards"
workers = 0
[task]
classes = ["near", "far"]
{modalities}
[training]
batch_size = 8
epochs = 2
warmup_epochs = 0
lr = 3e-3
device = "cpu"
"""
TABULAR = """
[modalities.tabular]
width = 32
layers = 2
[modalities.tabular.columns]
distance = { mean = 2.0, std = 1.0 }
room = { values = ["hall", "cellar"] }
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Environment:
    folder = tmp_path_factory.mktemp("fresh")
    return Environment(folder / "venv", build_wheel(folder))


def plugins(environment: Environment, cwd: Path) -> dict[str, str]:
    """Modalities that work, with their distributions; nothing may have failed."""
    rows = json.loads(environment.run("u2a plugins list --json", cwd).stdout)
    assert not [row for row in rows if row["status"].startswith("failed")], rows
    return {row["modality"]: row["distribution"] for row in rows if row["modality"]}


def depth_png(metres: float, seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 0.05, (40, 40))
    buffer = io.BytesIO()
    Image.fromarray((1000 * (metres + noise)).astype(np.uint16)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_data(folder: Path) -> None:
    """48 scenes, near or far, as picture, depth map, table row and text; some lack one or another."""
    rows = []
    for n in range(48):
        label, metres = ("near", 0.8) if n % 2 else ("far", 4.0)
        (folder / f"{n}.depth.png").write_bytes(depth_png(metres, n))
        (folder / f"{n}.png").write_bytes(tiny.image_bytes(tiny.picture(40, 40, seed=n)))
        row = {"key": str(n), "split": "train" if n < 32 else "test", "label": label, "image": f"{n}.png"}
        row |= {"depth": f"{n}.depth.png", "text": "small red boat" if n % 2 else "the old town"}
        row |= {"tabular": {"distance": metres, "room": "hall" if n % 3 else None}}
        if n % 5 == 0:
            row["depth"] = row["tabular"] = None
        rows.append(row)
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))


def train_and_evaluate(environment: Environment, folder: Path, modalities: str, drop: str) -> dict[str, object]:
    folder.mkdir()
    write_data(folder)
    (folder / "recipe.toml").write_text(RECIPE.format(name=folder.name, modalities=modalities))
    environment.run("u2a data pack recipe.toml --manifest manifest.jsonl", folder)
    environment.run("u2a train recipe.toml --run runs/one", folder)
    return json.loads(environment.run(f"u2a eval runs/one --drop {drop} --json", folder).stdout)


def test_depth_comes_trains_and_goes(environment, checkpoints, tmp_path):
    assert set(plugins(environment, tmp_path)) == {"image", "text", "audio", "video"}
    environment.run("pip install -q ./plugins/u2a-plugin-depth", ROOT)
    assert plugins(environment, tmp_path)["depth"] == "u2a-plugin-depth"
    clip = checkpoints["clip"]
    sections = f'[modalities.image]\nencoder = "{clip}"\n[modalities.depth]\nencoder = "{clip}"\nflip = false'
    folder = tmp_path / "scenes"
    scores = train_and_evaluate(environment, folder, sections, "depth")
    assert scores["dropped"] == ["depth"]
    assert scores["n"] == 16
    shown = environment.run("u2a plugins show depth", folder).stdout
    assert "near" in shown
    environment.run("pip uninstall -q -y u2a-plugin-depth", folder)
    assert set(plugins(environment, tmp_path)) == {"image", "text", "audio", "video"}
    gone = environment.run("u2a eval runs/one --json", folder, check=False)
    assert gone.returncode == 2
    assert "pip install u2a-plugin-depth" in gone.stderr
    assert "Traceback" not in gone.stderr
    only_image = f'[modalities.image]\nencoder = "{clip}"'
    (folder / "image.toml").write_text(RECIPE.format(name="image", modalities=only_image))
    assert ": ok: image" in environment.run("u2a recipe check image.toml", folder).stdout


def test_three_modalities_with_rows_of_a_table(environment, checkpoints, tmp_path):
    environment.run("pip install -q ./plugins/u2a-plugin-tabular", ROOT)
    sections = f'[modalities.image]\nencoder = "{checkpoints["clip"]}"\n{TABULAR}\n'
    sections += f'[modalities.text]\nencoder = "{checkpoints["bert"]}"'
    scores = train_and_evaluate(environment, tmp_path / "rooms", sections, "text,image")
    assert scores["n"] == 16 - 3  # samples 35, 40 and 45 have nothing but what is dropped
    assert scores["n_empty"] == 3


def test_a_plugin_fresh_from_the_template(environment, tmp_path):
    environment.run("u2a plugins new wrist_sensor", tmp_path)
    environment.run("pip install -q ./u2a-plugin-wrist-sensor", tmp_path)
    assert plugins(environment, tmp_path)["wrist_sensor"] == "u2a-plugin-wrist-sensor"
    done = environment.run(
        "pytest -q u2a-plugin-wrist-sensor", tmp_path
    )  # it packs, trains and evaluates as well
    assert " passed" in done.stdout
