"""The split of every sample: the source's own, else a drawn one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from u2a.errors import U2AError
from u2a.starting.divide import divide
from u2a.starting.samples import Samples

#: Samples of a class that every split should have some of.
SEVERAL = 10


@dataclass(frozen=True)
class Division:
    """Splits in the order of the samples, and what the person should know of them."""

    splits: list[str]
    lines: list[str]


def divided(samples: Samples, seed: int, *, draw: bool) -> Division:
    """The split of every sample.

    Raises:
        U2AError: some samples name a split and others none, or none is of split train.
    """
    if draw:
        return _drawn(samples, seed, None)
    splits = [sample.split for sample in samples]
    counts = Counter(splits)
    anew = "; fill it in, or divide all anew: --divide"
    if set(counts) == {"train"}:
        drawn = _drawn(samples, seed, splits)
        return Division(drawn.splits, ["only the split train has labels", *drawn.lines])
    if counts[None]:
        raise U2AError(f"{samples.source.path}: {counts[None]} samples name no split, and others do{anew}")
    if not counts["train"]:
        found = ", ".join(map(str, counts))
        raise U2AError(f"{samples.source.path}: no labelled sample is of split train, only of {found}{anew}")
    if not counts["test"] and not counts["val"]:
        others = ", ".join(repr(split) for split in counts if split != "train")
        said = f"no split is test or val, which scores need: train is divided, and {others} left as it is"
        drawn = _drawn(samples, seed, splits)
        return Division(drawn.splits, [said, *drawn.lines])
    lines = [f"splits as they are: {_counted(splits)}"]
    if not counts["test"]:
        lines.append("there is no test split: scores will be those of val, which also picks the checkpoint")
    return Division([str(split) for split in splits], lines)


def _drawn(samples: Samples, seed: int, own: Sequence[str | None] | None) -> Division:
    """A split that is drawn, of the samples of train alone where they have one of their `own`."""
    splits = [str(split) for split in own or ()]
    places, labels, ties = [], [], []
    for place, sample in enumerate(samples):
        if own is None:
            splits.append("train")
        if splits[place] == "train":
            places.append(place)
            labels.append(sample.labels or ())
            ties.append(samples.digests(sample))
    for place, split in zip(places, divide(labels, ties, seed), strict=True):
        splits[place] = split
    groups = f"samples of one {samples.roles.group!r} and " if samples.roles.group else ""
    said = f"split drawn by class (seed {seed}): {_counted(splits)}; {groups}equal files stay together"
    return Division(splits, [said, *_lacking(labels, [splits[place] for place in places])])


def _lacking(labels: Sequence[Sequence[str]], splits: Sequence[str]) -> Iterator[str]:
    """Classes of several samples that a split has none of, since what stays together is in another."""
    counts = Counter((split, name) for names, split in zip(labels, splits, strict=True) for name in names)
    totals = Counter(name for names in labels for name in names)
    for split in ("val", "test"):
        found = [name for name in sorted(totals) if totals[name] >= SEVERAL and not counts[split, name]]
        if found:
            shown = ", ".join(found[:4]) + (f" and {len(found) - 4} more classes" if len(found) > 4 else "")
            yield f"{split} has no sample of {shown}"


def _counted(splits: Sequence[str | None]) -> str:
    return ", ".join(f"{split} {count}" for split, count in ordered(Counter(splits)).items())


def ordered(counts: Mapping[Any, int]) -> dict[str, int]:
    """Samples by split: train, val, test, then the others."""
    known = [split for split in ("train", "val", "test") if counts.get(split)]
    return {str(split): counts[split] for split in dict.fromkeys([*known, *counts]) if counts.get(split)}
