"""What a person wants to know of a data set before training: what is in it, and what looks wrong.

Shape suffixes: N samples, M modalities in recipe order.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from u2a.common.values import MISSING_WORDS, missing_word, nfc
from u2a.contract.blame import reason_of
from u2a.data.inspection.members import describe
from u2a.data.packing.summary import rare_classes
from u2a.data.reading.missing import count_presence
from u2a.data.reading.missing_rule import apply_missing
from u2a.data.reading.opening import open_recipe_split
from u2a.data.reading.split import Split
from u2a.data.shards.dataset import split_names
from u2a.data.shards.twins import has_digests, twin_notes
from u2a.errors import BadSample
from u2a.media.partial import noting_losses
from u2a.recipe.sections import Recipe

#: Members of each modality and split that are opened to measure them.
PROBED = 200
#: A class with fewer training samples is pointed out.
FEW = 5
SHOWN = 3


@dataclass(frozen=True)
class SplitReport:
    """What one split holds.

    Attributes:
        presence: ``image + text`` and so on to the number of samples that have just these.
        classes: class name to samples; a sample of several labels counts for each.
        measures: modality to measure (``bytes``, ``seconds`` ...) to smallest, median and largest.
        formats: modality to file format to members, of those that were opened.
    """

    samples: int
    unlabelled: int
    presence: dict[str, int]
    classes: dict[str, int]
    measures: dict[str, dict[str, tuple[float, float, float]]]
    formats: dict[str, dict[str, int]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DataReport:
    """All splits, and what looks wrong, one line each."""

    splits: dict[str, SplitReport]
    wrong: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def open_splits(recipe: Recipe, names: Sequence[str] = ()) -> dict[str, Split]:
    """The named splits, or all, with the presence that ``data.missing`` leaves; labels may be missing."""
    return {
        name: apply_missing(open_recipe_split(recipe, name, labelled=False), recipe)
        for name in names or split_names(recipe.data.shards)
    }


def inspect(recipe: Recipe, splits: Mapping[str, Split]) -> DataReport:
    """Look at opened splits: everything from their indexes, and some members of each modality."""
    wrong: list[str] = []
    reports = {name: _report(split, recipe, wrong) for name, split in splits.items()}
    wrong += _odd_classes(reports, recipe)
    wrong += _shared_keys(splits)
    indexes = {name: [index for index, _, _ in split.indexes()] for name, split in splits.items()}
    if all(map(has_digests, indexes.values())):
        wrong += twin_notes(indexes, texts=True)
    else:
        wrong += _shared_files(splits)
    wrong += _missing_words(splits)
    wrong += _modalities_without(splits)
    return DataReport(reports, wrong)


def labels_of(split: Split) -> list[tuple[int, ...]]:
    """Every sample's labels as indices into the recipe's classes."""
    found: list[tuple[int, ...]] = []
    for index, _, class_ids in split.indexes():
        ids, ends = class_ids[index.array("label_ids")].tolist(), index.array("label_ends").tolist()
        found += [tuple(ids[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    return [labels for labels, used in zip(found, split.used, strict=True) if used]


def _report(split: Split, recipe: Recipe, wrong: list[str]) -> SplitReport:
    labels = labels_of(split)
    counts = Counter(number for numbers in labels for number in numbers)
    sizes_NM = split.sizes()
    measures: dict[str, dict[str, tuple[float, float, float]]] = {}
    formats: dict[str, dict[str, int]] = {}
    for m, name in enumerate(split.modalities):
        places = np.flatnonzero(split.present_NM[:, m])
        if len(places):
            some = places[np.linspace(0, len(places) - 1, min(PROBED, len(places))).astype(int)]
            found, formats[name] = _probe(recipe, split, name, some, wrong)
            measures[name] = {"bytes": _three(sizes_NM[places, m]), **found}
    labelled = np.concatenate([index.array("labelled") for index, _, _ in split.indexes()])[split.used]
    unlabelled = int((~labelled).sum())
    return SplitReport(
        samples=len(split),
        unlabelled=unlabelled,
        presence=count_presence(split.present_NM, split.modalities),
        classes={name: counts[number] for number, name in enumerate(recipe.task.classes)},
        measures=measures,
        formats=formats,
        notes=split.notes,
    )


def _probe(
    recipe: Recipe, split: Split, name: str, places: Iterable[int], wrong: list[str]
) -> tuple[dict[str, tuple[float, float, float]], dict[str, int]]:
    numbers: dict[str, list[float]] = defaultdict(list)
    formats: Counter[str] = Counter()
    for i in map(int, places):
        member = split.members(i, (name,))[name]
        try:
            with noting_losses() as losses:
                facts = describe(recipe, name, member)
        except BadSample as error:
            wrong.append(f"{split.where(i)}: {name}: {error}")
            continue
        except Exception as error:  # of a decoder or a plugin, for one file: it must not stop the rest
            wrong.append(f"{split.where(i)}: {name}: cannot be decoded: {reason_of(error)}")
            continue
        wrong += [f"{split.where(i)}: {name}: {lost}" for lost in losses]
        formats[facts.format] += 1
        for measure, value in facts.numbers.items():
            numbers[measure].append(value)
    return {measure: _three(values) for measure, values in numbers.items()}, dict(formats.most_common())


def _three(values: Sequence[float] | NDArray[Any]) -> tuple[float, float, float]:
    return float(np.min(values)), float(np.median(values)), float(np.max(values))


def _odd_classes(reports: Mapping[str, SplitReport], recipe: Recipe) -> Iterator[str]:
    for name, report in reports.items():
        if report.unlabelled:
            yield f"{name}: {report.unlabelled} samples have no label; they cannot be trained on or scored"
    if "train" in reports:
        yield from rare_classes(recipe.task.classes, {name: r.classes for name, r in reports.items()}, FEW)


def _modalities_without(splits: Mapping[str, Split]) -> Iterator[str]:
    for name, split in splits.items():
        for m, modality in enumerate(split.modalities):
            if not split.present_NM[:, m].any():
                yield f"{name}: no sample has {modality}"


def _missing_words(splits: Mapping[str, Split]) -> Iterator[str]:
    """Texts such as "nan" and "N/A"; only members as short as these are read."""
    longest = max(map(len, MISSING_WORDS))
    for name, split in splits.items():
        for m, modality in enumerate(split.modalities):
            sizes_N = split.sizes()[:, m]
            found: dict[str, list[str]] = defaultdict(list)
            for i in map(int, np.flatnonzero((sizes_N > 0) & (sizes_N <= longest) & split.present_NM[:, m])):
                text = split.members(i, (modality,))[modality].decode("utf-8-sig", "replace")
                if missing_word(text):
                    found[text.strip()].append(split.key(i))
            for text, keys in found.items():
                yield f"{name}: {len(keys)} {modality} members say {text!r}, a word for missing: {_some(keys)}"


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(map(repr, keys[:SHOWN])) + more


def _shared_keys(splits: Mapping[str, Split]) -> Iterator[str]:
    places: dict[str, list[str]] = defaultdict(list)
    forms: dict[str, str] = {}
    for name, split in splits.items():
        for key in split.keys():  # noqa: SIM118  # not a mapping
            places[same := nfc(key)].append(name)
            if same != key:
                forms[same] = key
    by_place: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key, names in places.items():
        if len(names) > 1:
            by_place[tuple(names)].append(key + (f" (as {forms[key]!a}, too)" if key in forms else ""))
    for found, keys in sorted(by_place.items()):
        once = list(dict.fromkeys(found))
        where = f"twice in {once[0]}" if len(once) == 1 else f"in {' and '.join(once)}"
        yield f"{len(keys)} keys are {where}: {_some(keys)}"


def _shared_files(splits: Mapping[str, Split]) -> Iterator[str]:
    """Members with the same bytes in several splits; only those of equal size are read."""
    names = list(splits)
    sizes = {name: split.sizes() for name, split in splits.items()}
    modalities = splits[names[0]].modalities
    for m, modality in enumerate(modalities):
        held: dict[bytes, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in names:
            others = [sizes[other][:, m] for other in names if other != name]
            if not others:
                return
            alike = np.isin(sizes[name][:, m], np.concatenate(others)) & (sizes[name][:, m] >= 0)
            for i in map(int, np.flatnonzero(alike)):
                digest = hashlib.sha256(splits[name].members(i, (modality,))[modality]).digest()
                held[digest][name].append(splits[name].key(i))
        by_splits: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for found in held.values():
            if len(found) > 1:
                by_splits[tuple(found)].append(next(iter(found.values()))[0])
        for where, keys in sorted(by_splits.items()):
            yield f"{len(keys)} {modality} files are the same in {' and '.join(where)}: {_some(keys)}"
