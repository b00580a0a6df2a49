"""What a packing made, counted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from u2a.common.files import write_text
from u2a.data.packing.manifest import Row
from u2a.recipe.sections import Recipe


@dataclass
class SplitSummary:
    """What a data set holds of one split; `presence` counts samples by the modalities that they have.

    `skipped` names samples that were left out, with modality and reason; `absent` names samples whose files
    turned out not to hold a modality, with the reason for each.
    """

    samples: int = 0
    unlabelled: int = 0
    bytes: int = 0
    presence: Counter[tuple[str, ...]] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, tuple[str, str]] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)

    def count(self, row: Row, present: tuple[str, ...]) -> None:
        """Add a sample that has these modalities."""
        self.samples += 1
        self.unlabelled += row.labels is None
        self.presence[present] += 1
        self.labels.update(row.labels or ())


Summary = dict[str, SplitSummary]


def modalities_without_samples(summary: Summary, recipe: Recipe) -> list[str]:
    """Modalities of the recipe that no sample has: perhaps a misnamed column."""
    held = {name for split in summary.values() for pattern in split.presence for name in pattern}
    return [name for name in recipe.modalities if name not in held]


def write_skipped(folder: Path, summary: Summary) -> None:
    """Name the samples that were left out, if any, in ``skipped.jsonl``."""
    lines = [
        json.dumps({"key": key, "split": name, "modality": modality, "reason": reason}, ensure_ascii=False)
        for name, split in summary.items()
        for key, (modality, reason) in split.skipped.items()
    ]
    if lines:
        write_text(folder / "skipped.jsonl", "\n".join(lines) + "\n")
