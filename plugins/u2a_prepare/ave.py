"""AVE: ten-second clips of 28 events that are seen and heard; the official splits.

``Annotations.txt`` and ``{train,val,test}Set.txt`` with lines ``Category&VideoID&Quality&StartTime&EndTime``,
and ``AVE/<VideoID>.mp4``. A video with two events is two samples, as in the official lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from u2a.errors import U2AError
from u2a_prepare.common import Choice, DataSet, Found, Report, files_in, first_folder, read_text, same_name

VIDEOS = ("mp4", "m4v", "mkv", "webm", "mov")


class Event(NamedTuple):
    """A line of the lists."""

    category: str
    video: str
    start: str
    end: str


def read(source: Path, report: Report, choice: Choice, classes: Collection[str]) -> Iterator[Found]:
    """Events in the order of the split files."""
    root = first_folder(source, "AVE_Dataset", ".")
    videos = files_in(first_folder(root, "AVE"), VIDEOS, report)
    splits = {split: _events(root / f"{split}Set.txt", report, split) for split in ("train", "val", "test")}
    if not any(splits.values()):
        raise U2AError(f"{root}: trainSet.txt, valSet.txt and testSet.txt list nothing")
    often = Counter(event.video for events in splits.values() for event in events)
    home: dict[str, str] = {}
    for split, events in splits.items():
        for event in events:
            if home.setdefault(event.video, split) != split:
                report.add(
                    "in two splits", event.video, f"also in {home[event.video]}; kept, as official", split
                )
            if event.category not in classes:
                report.add("unknown class", event.video, f"{event.category!r}; left out", split)
                continue
            path = videos.get(same_name(f"{event.video}.mp4"), root / "AVE" / f"{event.video}.mp4")
            key = event.video
            if often[event.video] > 1:
                key += f" {event.category} {event.start}-{event.end}"
            yield Found(key, split, (event.category,), {"audio": path, "video": path})
    _compare(root, {event for events in splits.values() for event in events}, report)


def _events(path: Path, report: Report, split: str) -> list[Event]:
    """The distinct lines of a list; a header is passed over."""
    events: dict[Event, None] = {}
    for line in read_text(path, report).splitlines():
        fields = [field.strip() for field in line.split("&")]
        if fields[:2] == ["Category", "VideoID"] or not line.strip():
            continue
        if len(fields) != 5 or not fields[1]:
            report.add("odd line", str(path), f"{line!r}; left out", split)
            continue
        event = Event(fields[0], fields[1], fields[3], fields[4])
        if event in events:
            report.add("duplicate", event.video, f"{event.category} is listed twice; kept once", split)
        events[event] = None
    return list(events)


def _compare(root: Path, listed: set[Event], report: Report) -> None:
    """``Annotations.txt`` should hold the events of the three lists and no others."""
    if not (root / "Annotations.txt").is_file():
        return
    for event in _events(root / "Annotations.txt", Report(), ""):
        if event not in listed:
            report.add("in no split", event.video, f"{event.category}: in Annotations.txt only; left out")


AVE = DataSet("ave", ("audio", "video"), {"train": 3_339, "val": 402, "test": 402}, read)
