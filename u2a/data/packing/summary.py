"""What a packing made, counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from u2a.common.files import write_text
from u2a.data.packing.sources import Row
from u2a.data.packing.staging import SKIPPED
from u2a.data.shards.dataset import DatasetFile, ShardEntry, fingerprint
from u2a.recipe.sections import Recipe


@dataclass
class SplitSummary:
    """What a data set holds of one split; `presence` counts samples by the modalities that they have.

    `skipped` names samples that were left out, with modality and reason; `absent` names samples whose files
    turned out not to hold a modality, `damaged` samples that lost a part of one, with the reason for each.
    """

    samples: int = 0
    unlabelled: int = 0
    bytes: int = 0
    presence: Counter[tuple[str, ...]] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, tuple[str, str]] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)
    damaged: dict[str, dict[str, str]] = field(default_factory=dict)

    def count(self, row: Row, present: tuple[str, ...]) -> None:
        """Add a sample that has these modalities."""
        self.samples += 1
        self.unlabelled += row.labels is None
        self.presence[present] += 1
        self.labels.update(row.labels or ())


class Summary(dict[str, SplitSummary]):
    """What was packed, by split.

    Attributes:
        missing_words: modality to the keys of samples whose text is a word for "missing".
    """

    def __init__(self, splits: Mapping[str, SplitSummary] | None = None) -> None:
        super().__init__(splits or {})
        self.missing_words: dict[str, list[str]] = {}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        splits = {
            name: {
                "samples": split.samples,
                "unlabelled": split.unlabelled,
                "bytes": split.bytes,
                "presence": {" + ".join(pattern): count for pattern, count in split.presence.items()},
                "labels": dict(split.labels),
                "skipped": {key: {"modality": m, "reason": why} for key, (m, why) in split.skipped.items()},
                "absent": split.absent,
                "damaged": split.damaged,
            }
            for name, split in self.items()
        }
        return {"splits": splits, "missing_words": self.missing_words}


def joined(parts: Sequence[Summary]) -> Summary:
    """What parts of one packing hold together."""
    whole = Summary()
    whole.missing_words = parts[0].missing_words  # every part reads all of the manifest
    for name, split in (item for part in parts for item in part.items()):
        into = whole.setdefault(name, SplitSummary())
        for key, value in vars(split).items():
            held = getattr(into, key)
            if isinstance(value, Counter | dict):
                held.update(value)
            else:
                setattr(into, key, held + value)
    return whole


def describe(
    summary: Summary,
    splits: dict[str, tuple[ShardEntry, ...]],
    modalities: tuple[str, ...],
    task_kind: Literal["single_label", "multi_label"],
) -> DatasetFile:
    """The dataset.json of what was packed, of the splits that have shards."""
    labels = sorted({label for split in summary.values() for label in split.labels})
    return DatasetFile(
        modalities=modalities,
        task_kind=task_kind,
        splits=splits,
        classes={label: {name: summary[name].labels[label] for name in splits} for label in labels},
        fingerprint=fingerprint(entry.sha256 for entries in splits.values() for entry in entries),
    )


def odd_data(summary: Summary, recipe: Recipe) -> Iterator[str]:
    """What a person may not have meant: modalities, labels and classes that are not there."""
    held = {name for split in summary.values() for pattern in split.presence for name in pattern}
    for name in recipe.modalities:
        if name not in held:
            yield f"no sample has {name!r}; if it should, the manifest needs a column {name!r} or '{name}_path'"
    for split_name, split in summary.items():
        here = {name for pattern in split.presence for name in pattern}
        if split.damaged:
            key, parts = next(iter(split.damaged.items()))
            name, lost = next(iter(parts.items()))
            yield (
                f"{split_name}: {len(split.damaged)} samples have damaged parts, which were left out; "
                f"the first is {key!r}: {name}: {lost}"
            )
        if without := [name for name in recipe.modalities if name in held and name not in here]:
            yield f"no sample of {split_name} has {' or '.join(map(repr, without))}"
        if split.unlabelled:
            yield f"{split_name}: {_labelled(split.samples, split.unlabelled)}"
    train = summary.get("train")
    if train is None:
        yield f"there is no split 'train' ({', '.join(summary)}), so nothing to train on"
        return
    if train.labels:
        yield from rare_classes(recipe.task.classes, {name: split.labels for name, split in summary.items()}, 2)


def rare_classes(classes: Sequence[str], counts: Mapping[str, Mapping[str, int]], enough: int) -> Iterator[str]:
    """Classes that fewer than `enough` training samples have; `counts` are by split, then by class."""
    for label in classes:
        n = counts["train"].get(label, 0)
        elsewhere = [f"{name} ({held[label]})" for name, held in counts.items() if held.get(label)]
        if not n:
            where = f"but in {', '.join(elsewhere)}" if elsewhere else "nor anywhere else"
            yield f"class {label!r}: never in train, {where}"
        elif n < enough:
            yield f"class {label!r}: only {n} training sample{'s' if n > 1 else ''}"


def _labelled(n: int, without: int) -> str:
    if n > without:
        return f"{n - without} of {n} samples have a label; others cannot be trained on or scored"
    return f"none of {n} samples have a label (no column 'label' or 'labels'?): not to be trained on or scored"


def write_skipped(folder: Path, summary: Summary) -> None:
    """Name the samples that were left out, if any, in ``skipped.jsonl``."""
    lines = [
        json.dumps({"key": key, "split": name, "modality": modality, "reason": reason}, ensure_ascii=False)
        for name, split in summary.items()
        for key, (modality, reason) in split.skipped.items()
    ]
    if lines:
        write_text(folder / SKIPPED, "\n".join(lines) + "\n")
