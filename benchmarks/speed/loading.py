"""Reading and decoding: beside decoding alone, beside libraries' plain ways, beside webdataset."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
import webdataset
from PIL import Image

from benchmarks.speed.timing import Row, beside
from u2a.data.feeding.batches import Collator, Request, Samples, make_loader, reading
from u2a.data.packing.pack import pack_manifest
from u2a.data.preprocessors import build_preprocessors
from u2a.data.reading.opening import evaluation_split
from u2a.recipe.file import load_recipe
from u2a_image.spec import IMAGE
from u2a_video.decode import decode_frames

ROOT = Path(__file__).resolve().parents[2]
MANY = 60_000
READ = 3000


def rows(folder: Path) -> Iterator[Row]:
    """All of them."""
    subprocess.run([sys.executable, "-m", "u2a", "quickstart", "--out", str(folder / "shards")], check=True)
    for name, times in (("image", 6), ("audio", 2), ("text", 25), ("video", 1)):
        yield _loader(folder, name, times)
    yield _film(folder)
    yield _photo()
    yield _reading(folder / "many")


def _loader(folder: Path, name: str, times: int) -> Row:
    """One worker beside the same samples decoded and preprocessed here, each so many times."""
    text = (ROOT / "recipes" / "quickstart.toml").read_text()
    recipe = load_recipe(_only(folder, text, name))
    split, preprocessors = evaluation_split(recipe, "train"), build_preprocessors(recipe)
    samples = Samples(split, preprocessors, train=True)
    collate = Collator(preprocessors, len(recipe.task.classes), multi_label=False)
    requests = [Request(i, (True,), i) for i in range(len(split)) if split.present_NM[i, 0]]
    batches = [requests[i : i + 32] for i in range(0, len(requests), 32)] * times

    def alone() -> None:
        for batch in batches:
            collate([samples[request] for request in batch])

    def loaded() -> None:
        with reading(make_loader(samples, batches, collate, workers=1)) as read:
            for _ in read:
                pass

    what = f"loading {name} with one worker ({len(requests) * times} samples, its start included)"
    return beside(what, loaded, "decoding and preprocessing alone", alone, ">= 0.95 of its rate", faster=True)


def _only(folder: Path, text: str, name: str) -> Path:
    head, *sections = text.replace("../shards/quickstart", str(folder / "shards")).split("\n[modalities.")
    own = next(section for section in sections if section.startswith(f"{name}]"))
    path = folder / f"{name}.toml"
    path.write_text(f"{head}\n[modalities.{own.partition(chr(10) + '[')[0]}\n")
    return path


def _film(folder: Path) -> Row:
    """Three frames of a film of 10 s, 30 a second, H.264 with a key frame a second."""
    path = folder / "film.mp4"
    draw, still = np.random.default_rng(0), np.random.default_rng(1).integers(0, 255, (360, 640, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "30"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for t in range(300):
            frame = np.roll(still, 3 * t, 1)
            frame[100:140, 200:260] = draw.integers(0, 255)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    member = path.read_bytes()

    def everything() -> None:
        with av.open(io.BytesIO(member)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")

    return beside(
        "3 frames of a film of 10 s at 30 frames a second",
        lambda: decode_frames(member, lambda times: [len(times) * k // 3 for k in range(3)]),
        "decoding all of it",
        everything,
        ">= 4 x faster",
        faster=True,
    )


def _photo() -> Row:
    """A JPEG of 12 megapixels to 224 pixels."""
    draw = np.random.default_rng(0)
    noise = Image.fromarray(draw.integers(0, 255, (300, 400, 3), np.uint8)).resize((4000, 3000))
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=90)
    member = buffer.getvalue()
    options = IMAGE.options(kind="image", encoder="u2a:quickstart/image", resolution=224)
    preprocessor = IMAGE.preprocessor(options)

    def plain() -> None:
        picture = Image.open(io.BytesIO(member)).convert("RGB")
        picture = picture.resize((299, 224), Image.Resampling.BICUBIC).crop((37, 0, 261, 224))
        torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)

    return beside(
        "JPEG of 12 megapixels to 224 px",
        lambda: preprocessor(member, train=False, seed=0),
        "Pillow: whole decoding, bicubic resize",
        plain,
        ">= 2 x faster",
        faster=True,
    )


def _reading(folder: Path) -> Row:
    """Samples in random order, their bytes alone; webdataset goes through the same shards one after another."""
    folder.mkdir()
    rows = (
        {"key": f"k{i}", "split": "train", "label": "ab"[i % 2], "text": f"words of sample {i}"}
        for i in range(MANY)
    )
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.toml").write_text(
        'name = "rows"\n[data]\nshards = "shards"\n[task]\nkind = "single_label"\nclasses = ["a", "b"]\n'
        '[modalities.text]\nencoder = "u2a:quickstart/text"\n'
    )
    recipe = load_recipe(folder / "r.toml")
    pack_manifest(recipe, folder / "rows.jsonl", folder / "shards", shard_size=5000, check=False)
    split = evaluation_split(recipe, "train")
    order = np.random.default_rng(0).permutation(MANY)[:READ].tolist()
    shards = [str(path) for path in sorted((folder / "shards").glob("*.tar"))]

    def indexed() -> None:
        for i in order:
            split.members(i, ["text"])

    def sequential() -> None:
        plain = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)
        for n, _ in enumerate(plain, 1):
            if n == READ:
                break

    return beside(
        f"{READ} samples at random places of {MANY}, by index",
        partial(indexed),
        "webdataset, one after another",
        sequential,
        ">= 5 x samples/s",
        faster=True,
    )
