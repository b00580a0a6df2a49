"""A set of three modalities from a Debian package: Tux Paint's stamps, a picture, its name, and a sound.

    apt-get install tuxpaint-stamps-default
    pip install cairosvg                        # for the stamps that are drawn as SVG

The class is the folder (animals, food, vehicles ...), the text the first line of the stamp's English
description, the sound what the stamp plays, else its name as somebody says it (in English, Spanish or French).
947 samples, 15 classes of 6 to 249; 25 have no sound. Splits by class, from a seed: 55, 15 and 30 %.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.evidence import made

STAMPS = Path("/usr/share/tuxpaint/stamps")
SOUNDS = (".ogg", "_desc.ogg", ".wav", "_desc_es.ogg", "_desc_fr.ogg")
#: Classes of fewer stamps are left out.
FEWEST = 5


def manifest(folder: Path) -> Path:
    """Write the samples' files and their manifest to `folder`, unless they are there."""
    return made.manifest(
        folder, lambda: (_row(n, split, picture, folder) for n, (split, picture) in enumerate(_divided()))
    )


def _pictures() -> Iterator[Path]:
    """One a stamp that has a name or a sound; mirrored copies are none."""
    for picture in sorted([*STAMPS.rglob("*.png"), *STAMPS.rglob("*.svg")]):
        twin = picture.suffix == ".svg" and picture.with_suffix(".png").exists()
        mirrored = picture.stem.endswith(("_mirror", "_flip"))
        if not twin and not mirrored and (_name(picture) or _sound(picture)):
            yield picture


def _divided() -> Iterator[tuple[str, Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for picture in _pictures():
        found[picture.relative_to(STAMPS).parts[0]].append(picture)
    return made.divided(found, FEWEST)


def _row(number: int, split: str, picture: Path, folder: Path) -> dict[str, Any]:
    row = {"key": f"{number:04d}", "split": split, "label": picture.relative_to(STAMPS).parts[0]}
    row["image"] = f"{number:04d}.png"
    if picture.suffix == ".svg":
        import cairosvg

        cairosvg.svg2png(url=str(picture), unsafe=True, write_to=str(folder / row["image"]), output_width=200)
    else:
        shutil.copy(picture, folder / row["image"])
    if name := _name(picture):
        row["text"] = name
    if sound := _sound(picture):
        row["audio"] = f"{number:04d}{sound.suffix}"
        shutil.copy(sound, folder / row["audio"])
    return row


def _name(picture: Path) -> str:
    text = picture.with_suffix(".txt")
    return text.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip() if text.exists() else ""


def _sound(picture: Path) -> Path | None:
    beside = (picture.parent / f"{picture.stem}{end}" for end in SOUNDS)
    return next((sound for sound in beside if sound.exists()), None)
