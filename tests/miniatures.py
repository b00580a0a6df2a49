"""Miniatures of the paper's data sets in their official layouts, as far as they are in order."""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path

import av
import numpy as np
import tiny

from u2a_prepare.sets import DATA_SETS


@cache
def picture(seed: int = 0) -> bytes:
    return tiny.image_bytes(tiny.picture(40, 36, seed), "JPEG")


@cache
def clip(sound: bool = True, seconds: int = 1) -> bytes:
    """An MP4 file with ten frames a second, and a tone or no audio stream."""
    frames = tiny.numbered_frames(10 * seconds, 36, 48)
    return tiny.clip_bytes(frames, tiny.tone(seconds) if sound else None)


@cache
def speech(seed: int = 0) -> bytes:
    return tiny.sound_bytes(tiny.tone(0.8, hertz=200 + 50 * seed))


@cache
def flash(frames: int = 12) -> bytes:
    """A Flash video as CREMA-D has them: Sorenson H.263 and MP3 in FLV."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flv") as container:
        video, audio = container.add_stream("flv", rate=10), container.add_stream("libmp3lame", rate=44100)
        video.width, video.height, video.pix_fmt = 48, 36, "yuv420p"
        for pixels in tiny.numbered_frames(frames, 36, 48):
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode(None))
        wave = np.stack([tiny.tone(frames / 10, 44100)] * 2)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def food101(root: Path, classes: tuple[str, ...] = ("apple_pie", "crème_brûlée")) -> Path:
    """Six training and three test pictures of each class, all in order; `classes` also name the folders."""
    for split, numbers in (("train", range(6)), ("test", range(100, 103))):
        lines = []
        for label in classes:
            for n in numbers:
                write(root / f"images/{split}/{label}/{label}_{n}.jpg", picture(n))
                lines.append([f"{label}_{n}.jpg", f'The best "{label}", ever | number {n}', label])
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(lines)
        write(root / f"texts/{split}_titles.csv", buffer.getvalue())
    return root


def mm_imdb(root: Path) -> Path:
    """Six, two and two films in order."""
    split = {"train": [f"{n:07d}" for n in range(1, 7)], "dev": ["0000011", "0000012"]}
    split["test"] = ["0000021", "0000022"]
    for number, film in enumerate(film for films in split.values() for film in films):
        genres = ["Drama", "News"] if number % 2 else ["Comedy", "Romance", "Film-Noir"]
        record = {"plot": ["two friends", "a boat"], "plot outline": f"a town {number}", "genres": genres}
        write(root / f"dataset/{film}.jpeg", picture(number))
        write(root / f"dataset/{film}.json", json.dumps(record))
    write(root / "split.json", json.dumps(split))
    return root


def kinetics_clips(split: str, count: int) -> list[tuple[str, str, int, int, str]]:
    """Lines of an annotation file: label, id (eleven characters, with dashes), start, end, split."""
    labels = ("playing guitar", "tap dancing")
    return [(labels[n % 2], f"-{split[:2]}_bcde{n:03d}", n, n + 10, split) for n in range(count)]


def kinetics_sound(root: Path) -> Path:
    """Eight training, two validation and four test clips in order, and a clip of another class."""
    for split, name, count in (("train", "train", 8), ("validate", "val", 2), ("test", "test", 4)):
        lines = kinetics_clips(split, count)
        for label, video, start, end, _ in lines:
            folder = label.replace(" ", "_") if split == "train" else label
            write(root / f"{name}/{folder}/{video}_{start:06d}_{end:06d}.mp4", clip())
        lines.append(("abseiling", f"zzzzzzzz{split[:3]}", 3, 13, split))
        write(root / f"{name}/abseiling/zzzzzzzz{split[:3]}_000003_000013.mp4", b"not of the subset")
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows([("label", "youtube_id", "time_start", "time_end", "split"), *lines])
        write(root / f"annotations/{name}.csv", buffer.getvalue())
    return root


def ave(root: Path) -> Path:
    """Six, two and two events in order; the first video of the training list has two of them."""
    base, every = root / "AVE_Dataset", ["Category&VideoID&Quality&StartTime&EndTime"]
    for split, count in (("train", 5), ("val", 2), ("test", 2)):
        lines = [f"{('Church bell', 'Frying (food)')[n % 2]}&-{split}_0000{n}&good&0&10" for n in range(count)]
        if split == "train":
            lines.append("Male speech, man speaking&-train_00000&good&2&7")
        for n in range(count):
            write(base / f"AVE/-{split}_0000{n}.mp4", clip())
        write(base / f"{split}Set.txt", "\n".join(lines) + "\n")
        every += lines
    write(base / "Annotations.txt", "\n".join(every) + "\n")
    return root


def crema_names() -> list[str]:
    """Forty clips of ten actors."""
    emotions = ("ANG", "DIS", "FEA", "HAP")
    return [f"{actor}_DFA_{emotion}_XX" for actor in range(1001, 1011) for emotion in emotions]


def crema_d(root: Path) -> Path:
    """All clips in order, and the official list of them."""
    for number, name in enumerate(crema_names()):
        write(root / f"AudioWAV/{name}.wav", speech(number % 3))
        write(root / f"VideoFlash/{name}.flv", flash())
    lines = [f'"{n}","{name}"' for n, name in enumerate(crema_names(), 1)]
    write(root / "SentenceFilenames.csv", "\n".join(['"Stimulus_Number","Filename"', *lines]) + "\n")
    return root


def small(name, checkpoints):
    """The recipe with tiny encoders."""
    of = {"image": "clip", "text": "bert", "audio": "ast", "video": "clip"}
    extra = {
        "image": "resolution=32",
        "text": "max_length=24",
        "audio": "max_length=64",
        "video": "resolution=32",
    }
    names = DATA_SETS[name].columns
    return [f"modalities.{m}.encoder={checkpoints[of[m]]}" for m in names] + [
        f"modalities.{m}.{extra[m]}" for m in names
    ]
