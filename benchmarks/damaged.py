"""Damages files at random and puts them through packing, inspection and prediction.

python benchmarks/damaged.py OUT.jsonl [MEMBERS] [FOLDER_OF_MORE_SOURCES]

Nothing but the sample's own error may come of it, within 5 s of processor time. A line is written for each
member with its seed, so that a run that was stopped goes on, and a fault can be made again. Damage: bits
flipped, bytes overwritten, cut off, a piece left out, doubled, or taken from another file; one in ten goes to
any modality.
"""

from __future__ import annotations

import io
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import soundfile
import torch
from PIL import Image

from u2a.common.distributed import World
from u2a.data.inspection.members import describe, preview
from u2a.data.packing.pack import read_extensions
from u2a.data.packing.row import Failed, RowPacker
from u2a.data.packing.sources import Cell, Row
from u2a.data.preprocessors import build_preprocessors
from u2a.errors import BadSample, PluginError
from u2a.evaluation.predict import Predictor
from u2a.media.recode import Recode
from u2a.recipe.file import load_recipe
from u2a.runs.build import build_model

SECONDS = 5.0
MODALITIES = ("image", "audio", "video", "text")
RECIPE = 'name = "damaged"\ndata = { shards = "shards" }\ntask = { classes = ["a", "b"] }\n' + "".join(
    f'[modalities.{name}]\nencoder = "u2a:quickstart/{encoder}"\n'
    for name, encoder in (("image", "image"), ("audio", "audio"), ("video", "image"), ("text", "text"))
)


def sources() -> dict[str, bytes]:
    """A few files of each kind, by name."""
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8)).resize((96, 72))
    found = {f"{form}.{form.lower()}": _image(image, form) for form in ("PNG", "WEBP", "GIF", "BMP", "TIFF")}
    found |= {"p.jpg": _image(image, "JPEG", progressive=True), "b.jpg": _image(image, "JPEG")}
    found["grey.tif"] = _image(image.convert("I;16"), "TIFF")
    found["cmyk.jpg"] = _image(image.convert("CMYK"), "JPEG")
    wave = (0.3 * np.sin(np.arange(16000) / 6)).astype(np.float32)
    for form in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "RF64"):
        stream = io.BytesIO()
        soundfile.write(stream, wave, 16000, format=form)
        found[f"{form}.{'wav' if form == 'RF64' else form.lower()}"] = stream.getvalue()
    frames = [np.asarray(image.rotate(5 * n)) for n in range(12)]
    for form, name in (("mp4", "a.mp4"), ("matroska", "a.mkv"), ("mpegts", "a.ts"), ("flv", "a.flv")):
        found[name] = _film(frames, wave, form)
    found["a.m4a"] = _film([], wave, "mp4")
    found["a.txt"] = "Ein roter Ball, \u00e4u\u00dferst rund; \u8d64\u3044\u7403.".encode() * 20
    return found


def _image(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _film(frames: list[np.ndarray], wave: np.ndarray, form: str) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        video = cast(Any, container.add_stream("libx264", rate=10)) if frames else None
        audio = cast(Any, container.add_stream("aac", rate=44100 if form == "flv" else 16000, layout="mono"))
        if video is not None:
            video.width, video.height, video.pix_fmt = 96, 72, "yuv420p"
            for pixels in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(video.encode(None))
        for start in range(0, len(wave) - 1023, 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate = audio.rate
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return stream.getvalue()


def damaged(member: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """The bytes after one to three blows."""
    data = bytearray(member)
    for _ in range(draw.randint(1, 3)):
        size = max(1, len(data))
        # Headers are short and decide most, so half of the blows fall there.
        at = draw.randrange(min(size, 200)) if draw.random() < 0.5 else draw.randrange(size)
        length = draw.choice((1, 2, 4, 16, 200, size // 10 + 1))
        blow = draw.randrange(7)
        if blow == 0 and data:
            data[at] ^= 1 << draw.randrange(8)
        elif blow == 1:
            data[at : at + length] = draw.randbytes(length)
        elif blow == 2:
            data[at : at + length] = draw.choice((b"\0", b"\xff")) * length
        elif blow == 3:
            del data[at:]
        elif blow == 4:
            del data[at : at + length]
        elif blow == 5:
            data[at:at] = data[at : at + length] * draw.randint(1, 20)
        else:
            other = draw.choice(others)
            start = draw.randrange(len(other))
            data[at : at + length] = other[start : start + length]
    return bytes(data)


class Trials:
    """The three ways that a user's file goes."""

    def __init__(self, folder: Path) -> None:
        path = folder / "recipe.toml"
        path.write_text(RECIPE)
        recipe = load_recipe(path)
        self.recipe, preprocessors = recipe, build_preprocessors(recipe)
        self.packer = RowPacker(
            single_label=True,
            extensions=read_extensions(recipe),
            preprocessors=preprocessors,
            recode=Recode(),
            keep_incomplete=False,
        )
        network = build_model(recipe).eval()
        self.predictor = Predictor(network, recipe, preprocessors, World(0, 1, 0, 1, torch.device("cpu")))

    def faults(self, modality: str, extension: str, member: bytes) -> list[str]:
        """What went wrong that must not, each in a line."""
        row = Row(1, "k", "train", ("a",), {modality: Cell(extension, member)})
        ways: dict[str, Callable[[], Any]] = {
            "pack": lambda: self.packer[row],
            "inspect": lambda: self._look(modality, member),
            "predict": lambda: self.predictor.predict([self.predictor.read({modality: member})]),
        }
        return [fault for name, way in ways.items() if (fault := _fault(name, way))]

    def _look(self, modality: str, member: bytes) -> None:
        describe(self.recipe, modality, member)
        preview(self.recipe, modality, member, 90)


def _fault(name: str, way: Callable[[], Any]) -> str | None:
    start, said = time.process_time(), None
    try:
        result = way()
        said = f"{name}: {result.error}" if isinstance(result, Failed) else None
    except BadSample:
        pass
    except PluginError as error:
        said = f"{name}: blames the plugin: {error}"
    except Exception as error:  # what this looks for
        said = f"{name}: {type(error).__name__}: {error}"
    seconds = time.process_time() - start
    return said or (f"{name}: {seconds:.1f} s" if seconds > SECONDS else None)


def main(out: str, members: int = 20_000, more: str | None = None) -> int:
    """Try so many members, going on from what `out` holds; returns how many had a fault."""
    found = sources()
    if more:
        files = sorted(path for path in Path(more).iterdir() if path.suffix != ".json")
        found |= {path.name: path.read_bytes() for path in files}
    names, path = sorted(found), Path(out)
    done = len(path.read_text().splitlines()) if path.exists() else 0
    trials = Trials(path.resolve().parent)
    with path.open("a") as lines:
        for seed in range(done, members):
            draw = random.Random(seed)
            name = names[seed % len(names)]
            member = damaged(found[name], list(found.values()), draw)
            extension = name.rpartition(".")[2].lower()
            fitting = [m for m in MODALITIES if extension in trials.packer.extensions[m]] or ["image"]
            modality = draw.choice(fitting if draw.random() < 0.9 else MODALITIES)
            start = time.process_time()
            faults = trials.faults(modality, extension, member) if member else []
            seconds = round(time.process_time() - start, 3)
            lines.write(json.dumps({"seed": seed, "file": name, "s": seconds, "faults": faults}) + "\n")
            lines.flush()
    results = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = Counter(fault[:90] for result in results for fault in result["faults"])
    print(f"{len(results)} members, slowest {max(r['s'] for r in results):.2f} s, {kinds.total()} faults")
    for kind, count in kinds.most_common(20):
        print(f"{count:>6}  {kind}")
    return kinds.total()


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:4]) else 0)
