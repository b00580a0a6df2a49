"""From a seed to a folder of files and the manifest that names them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from u2a_quickstart import audio, image, text, video
from u2a_quickstart.world import CLASSES, draw_signs

#: Changes whenever the same seed would give other data.
VERSION = 1
#: Samples of each split: multiples of the twelve classes, so that every split is balanced.
SIZES: Mapping[str, int] = MappingProxyType({"train": 720, "val": 144, "test": 480})


def generate(out: Path, seed: int = 0, sizes: Mapping[str, int] = SIZES) -> Path:
    """Write the quickstart's files into ``out`` (created; same names are overwritten).

    Every sample has a random stream of its own, so that it depends on seed, split and number only. The
    same seed gives the same bytes with the same versions of numpy, Pillow, libsndfile and PyAV.

    Args:
        out: folder for ``<split>/<number>.{png,wav,mp4}``, ``manifest.jsonl`` and ``signs.jsonl`` (what each
            modality of each sample shows; not for training).
        seed: any number >= 0.
        sizes: samples by split; each a multiple of ``len(CLASSES)``.

    Returns:
        The manifest's path. Its columns: key, split, label, image, audio, text, video; paths are relative
        to it, and text is the text itself.
    """
    if bad := {split: n for split, n in sizes.items() if n % len(CLASSES)}:
        raise ValueError(f"sizes must be multiples of {len(CLASSES)}, got {bad}")
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.jsonl"
    with manifest.open("w", encoding="utf-8") as rows, (out / "signs.jsonl").open("w", encoding="utf-8") as key:
        for row, signs in _samples(out, seed, sizes):
            rows.write(json.dumps(row) + "\n")
            key.write(json.dumps({"key": row["key"], **signs}) + "\n")
    return manifest


def _samples(out: Path, seed: int, sizes: Mapping[str, int]) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    for part, (split, count) in enumerate(sizes.items()):
        (out / split).mkdir(exist_ok=True)
        ships = np.random.default_rng([seed, part]).permutation(np.arange(count) % len(CLASSES))
        for number, ship in enumerate(ships):
            rng = np.random.default_rng([seed, part, number])
            signs = draw_signs(rng, int(ship))
            yield _write(out, f"{split}/{number:04d}", rng, signs, CLASSES[ship]), signs


def _write(
    out: Path, stem: str, rng: np.random.Generator, signs: Mapping[str, str], label: str
) -> dict[str, Any]:
    for ending, data in (
        ("png", image.png(rng, signs["image"])),
        ("wav", audio.wav(rng, signs["audio"])),
        ("mp4", video.mp4(rng, signs["video"])),
    ):
        (out / f"{stem}.{ending}").write_bytes(data)
    files = {"image": f"{stem}.png", "audio": f"{stem}.wav", "video": f"{stem}.mp4"}
    split, number = stem.split("/")
    row = {"key": f"{split}-{number}", "split": split, "label": label}
    return row | {"text": text.message(rng, signs["text"])} | files
