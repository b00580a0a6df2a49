"""A set of two modalities from an npm package: OpenMoji's drawings and the words people look them up by.

    npm pack openmoji@17.0.0 && tar xzf openmoji-17.0.0.tgz     # in /usr/share, or where $OPENMOJI says
    pip install cairosvg

The class is the subgroup (animal-mammal, country-flag, clothing ...; those of at least 20), the text the
words it is tagged with. Skin tones are left out. Splits by class, from a seed: 55, 15 and 30 %.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EMOJI = Path(os.environ.get("OPENMOJI", "/usr/share/openmoji"))
SHARES = (("train", 0.55), ("val", 0.15))
#: Classes of fewer drawings are left out.
FEWEST = 20


def manifest(folder: Path) -> Path:
    """Write the samples' pictures and their manifest to `folder`, unless they are there."""
    path = folder / "manifest.jsonl"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(split, one, folder) for split, one in _divided()]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def _divided() -> Iterator[tuple[str, dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in json.loads((EMOJI / "data/openmoji.json").read_text(encoding="utf-8")):
        if not one["skintone"]:
            found[one["subgroups"]].append(one)
    draw = random.Random(1)
    for _, drawings in sorted(found.items()):
        if len(drawings) < FEWEST:
            continue
        draw.shuffle(drawings)
        ends, split = Counter({"test": len(drawings)}), 0
        for name, share in SHARES:
            split += round(len(drawings) * share)
            ends[name] = split
        for place, one in enumerate(drawings):
            yield next(name for name in ("train", "val", "test") if place < ends[name]), one


def _row(split: str, one: dict[str, Any], folder: Path) -> dict[str, Any]:
    import cairosvg

    code = one["hexcode"]
    row = {"key": code, "split": split, "label": one["subgroups"], "image": f"{code}.png"}
    try:
        drawing = EMOJI / f"color/svg/{code}.svg"
        cairosvg.svg2png(url=str(drawing), write_to=str(folder / row["image"]), output_width=144)
    except AttributeError:  # a marker that cairosvg does not find: the picture is missing
        del row["image"]
    words = dict.fromkeys(", ".join(filter(None, (one["tags"], one["openmoji_tags"]))).split(", "))
    return row | ({"text": ", ".join(words)} if any(words) else {})
