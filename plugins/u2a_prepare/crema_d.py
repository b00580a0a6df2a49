"""CREMA-D: 91 actors speak 12 sentences with 6 emotions; a split drawn with a seed.

``AudioWAV/<clip>.wav`` and ``VideoFlash/<clip>.flv``; the clip's name carries the label: ``1001_DFA_ANG_XX`` is
actor, sentence, emotion, level. There is no official split, and popular ones share all actors between
training and test: by default this one does too, as in the paper (6,698 / 744); split by speaker it does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from u2a.common.seeds import stable_seed
from u2a_prepare.common import Choice, DataSet, Found, Report, files_in, first_folder, read_csv, same_name

PAPER = {"train": 6_698, "test": 744}
SHARE = PAPER["test"] / sum(PAPER.values())
SOUNDS, VIDEOS = ("wav",), ("flv", "mp4")
#: The authors' README: this recording has no sound, whatever its file holds.
SILENT = "1076_mti_sad_xx"
_CLIP = re.compile(r"(1\d{3})_([a-z]{3})_([a-z]{3})_([a-z]{1,2})")


def read(source: Path, report: Report, choice: Choice, classes: Collection[str]) -> Iterator[Found]:
    """Clips in the order of their names."""
    folders = first_folder(source, "AudioWAV"), first_folder(source, "VideoFlash")
    sounds, videos = files_in(folders[0], SOUNDS, report), files_in(folders[1], VIDEOS, report)
    found = sounds.keys() | videos.keys()
    listed = _listed(source, report)
    if listed is None:
        report.add("no list of clips", "SentenceFilenames.csv", "the split is drawn from the files there are")
    names = sorted(name for name in (listed or found) if _named(name, report))
    splits = assign(names, choice)
    for name in names:
        if name not in found:
            report.add("missing clip", name.upper(), "left out", splits[name])
            continue
        emotion = _CLIP.fullmatch(name)[3].upper()  # type: ignore[index]  # _named saw to it
        if emotion not in classes:
            report.add("unknown class", name.upper(), f"{emotion!r}; left out", splits[name])
            continue
        key = name.upper()
        sound = sounds.get(name, folders[0] / f"{key}.wav")
        video = videos.get(name, folders[1] / f"{key}.flv")
        cells = {"audio": None if name == SILENT else sound, "video": video}
        yield Found(key, splits[name], (emotion,), cells)
    for name in sorted(found - set(names)):
        report.add("not a listed clip", (sounds | videos)[name].name, "left out")


def assign(names: Collection[str], choice: Choice) -> dict[str, str]:
    """The split of each clip; a tenth is for testing, the same whatever order the names are in.

    By sample: the clips with the smallest seeded hashes. By speaker: all clips of the actors with the
    smallest seeded hashes.
    """
    if choice.split_by == "speaker":
        actors = {name.split("_")[0] for name in names}
        chosen = _smallest(actors, "crema_d speaker", choice.seed)
        return {name: "test" if name.split("_")[0] in chosen else "train" for name in names}
    chosen = _smallest(names, "crema_d", choice.seed)
    return {name: "test" if name in chosen else "train" for name in names}


def _smallest(names: Collection[str], purpose: str, seed: int) -> set[str]:
    ordered = sorted(names, key=lambda name: (stable_seed(purpose, seed, name), name))
    return set(ordered[: round(len(ordered) * SHARE)])


def _listed(source: Path, report: Report) -> set[str] | None:
    """The clips of the official ``SentenceFilenames.csv``: with it, lost files do not move the split."""
    path = source / "SentenceFilenames.csv"
    if not path.is_file():
        return None
    names = (fields.get("Filename") for _, fields in read_csv(path, report))
    return {same_name(f"{name}.wav") for name in names if name}


def _named(name: str, report: Report) -> bool:
    if _CLIP.fullmatch(name):
        return True
    report.add("odd name", name, "is not actor_sentence_emotion_level; left out")
    return False


CREMA_D = DataSet("crema_d", ("audio", "video"), PAPER, read, split_by=("sample", "speaker"), drawn=True)
