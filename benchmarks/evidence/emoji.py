"""A set of two modalities from an npm package: OpenMoji's drawings and the words people look them up by.

    npm pack openmoji@17.0.0 && tar xzf openmoji-17.0.0.tgz     # in /usr/share, or where $OPENMOJI says
    pip install cairosvg

The class is the subgroup (animal-mammal, country-flag, clothing ...; those of at least 20), the text the
words it is tagged with. Skin tones are left out. Splits by class, from a seed: 55, 15 and 30 %.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.evidence import made

EMOJI = Path(os.environ.get("OPENMOJI", "/usr/share/openmoji"))
#: Classes of fewer drawings are left out.
FEWEST = 20


def manifest(folder: Path) -> Path:
    """Write the samples' pictures and their manifest to `folder`, unless they are there."""
    return made.manifest(folder, lambda: (_row(split, one, folder) for split, one in _divided()))


def _divided() -> Iterator[tuple[str, dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in json.loads((EMOJI / "data/openmoji.json").read_text(encoding="utf-8")):
        if not one["skintone"]:
            found[one["subgroups"]].append(one)
    return made.divided(found, FEWEST)


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
