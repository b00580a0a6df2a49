"""Sets that are made from published packages: their splits and their manifest."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
SHARES = (("train", 0.55), ("val", 0.15))


def divided(classes: Mapping[str, Sequence[T]], fewest: int) -> Iterator[tuple[str, T]]:
    """Every sample with its split: 55, 15 and 30 % of each class of at least `fewest`, from a seed."""
    draw = random.Random(1)
    for _, samples in sorted(classes.items()):
        if len(samples) < fewest:
            continue
        shuffled = list(samples)
        draw.shuffle(shuffled)
        ends, split = Counter({"test": len(shuffled)}), 0
        for name, share in SHARES:
            split += round(len(shuffled) * share)
            ends[name] = split
        for place, sample in enumerate(shuffled):
            yield next(name for name in ("train", "val", "test") if place < ends[name]), sample


def manifest(folder: Path, rows: Callable[[], Iterable[dict[str, Any]]]) -> Path:
    """Write the samples' files and their manifest to `folder`, unless they are there."""
    path = folder / "manifest.jsonl"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
        path.write_text(text, encoding="utf-8")
    return path
