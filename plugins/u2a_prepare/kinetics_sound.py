"""Kinetics-Sound: the 31 classes of Kinetics-400 that can be seen and heard; its official splits.

The annotation CSV files of Kinetics-400 (label, youtube_id, time_start, time_end, split) anywhere below the
folder, and clips ``<youtube_id>_<start>_<end>.mp4`` with six digits each, in class folders or not.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from u2a.errors import U2AError
from u2a_prepare.common import Choice, DataSet, Found, Report, read_csv

VIDEOS = ("mp4", "m4v", "mkv", "webm", "mov", "avi")
_CLIP = re.compile(r"(.{11})_(\d{6})_(\d{6})\.")
_SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}

Clip = tuple[str, int, int]


def read(source: Path, report: Report, choice: Choice, classes: Collection[str]) -> Iterator[Found]:
    """Clips in the order of the annotation files (train, then val, then test)."""
    clips = _clips(source)
    wanted, others = _annotations(source, report, classes)
    if wanted and not any(split == "test" for split, _ in wanted.values()):
        report.add("no test annotations", str(source), "val is used as test")
        wanted = {clip: ("test" if split == "val" else split, c) for clip, (split, c) in wanted.items()}
    for clip, (split, label) in wanted.items():
        name = f"{clip[0]}_{clip[1]:06d}_{clip[2]:06d}"
        paths = clips.get(clip)
        if not paths:
            report.add("missing clip", name, f"{label}; never downloaded; left out", split)
            continue
        for path in paths[1:]:
            report.add("duplicate file", str(path), f"{paths[0]} is used", split)
        yield Found(name, split, (label,), {"audio": paths[0], "video": paths[0]})
    for clip in sorted(clips.keys() - wanted.keys() - others):
        report.add("clip without annotation", str(clips[clip][0]), "left out")


def _clips(source: Path) -> dict[Clip, list[Path]]:
    """Where each clip is; folders of replacements for broken ones come first."""
    clips: dict[Clip, list[Path]] = defaultdict(list)
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            match = _CLIP.match(name)
            if match and name.rpartition(".")[2].lower() in VIDEOS:
                clips[(match[1], int(match[2]), int(match[3]))].append(Path(folder, name))
    for paths in clips.values():
        paths.sort(key=lambda path: ("replacement" not in str(path.relative_to(source)).lower(), str(path)))
    return clips


def _annotations(
    source: Path, report: Report, classes: Collection[str]
) -> tuple[dict[Clip, tuple[str, str]], set[Clip]]:
    """The clips of the classes with split and label, and all other annotated clips."""
    wanted: dict[Clip, tuple[str, str]] = {}
    others: set[Clip] = set()
    paths = sorted({*source.glob("*.csv"), *source.glob("*/*.csv")}, key=_order)
    for path in paths:
        for clip, split, label in _lines(path, report):
            if label not in classes:
                others.add(clip)
                continue
            before = wanted.setdefault(clip, (split, label))
            if before != (split, label):
                report.add(
                    "conflict", clip[0], f"{before[1]} in {before[0]}, here {label}; the first is kept", split
                )
    if not wanted:
        raise U2AError(
            f"{source}: no annotation CSV file of Kinetics-400 (label,youtube_id,time_start,time_end,split) "
            "with one of the classes; docs/datasets.md shows what is expected"
        )
    return wanted, others


def _order(path: Path) -> tuple[int, Path]:
    """Training first, so that its label is the one kept in a conflict."""
    return next((n for n, split in enumerate(("train", "val")) if split in path.stem), 2), path


def _lines(path: Path, report: Report) -> Iterator[tuple[Clip, str, str]]:
    seen: set[Clip] = set()
    for line, fields in read_csv(path, report):
        if not {"label", "youtube_id", "time_start", "time_end"} <= fields.keys():
            return
        split = _SPLITS.get((fields.get("split") or path.stem).strip().lower())
        try:
            clip = (
                fields["youtube_id"].strip(),
                int(float(fields["time_start"])),
                int(float(fields["time_end"])),
            )
        except (ValueError, OverflowError, AttributeError, TypeError):
            split = None
        if split is None:
            report.add("odd line", str(path), f"line {line}; left out")
            continue
        if clip in seen:
            report.add("duplicate", clip[0], "listed twice; kept once", split)
            continue
        seen.add(clip)
        yield clip, split, " ".join((fields["label"] or "").replace("_", " ").split())


KINETICS_SOUND = DataSet("kinetics_sound", ("audio", "video"), {"train": 14_739, "test": 2_594}, read)
