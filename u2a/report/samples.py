"""Samples as the page shows them: small pictures, texts and short sounds, inlined and bounded in bytes."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import numpy as np
from PIL import Image
from scipy.signal import resample_poly

from u2a.contract.blame import reason_of
from u2a.data.reading.split import Split
from u2a.errors import BadSample
from u2a.media.probe import picture, probe
from u2a.media.sounds import decode_mono

WIDTH = 200
MOST_TEXT = 600
SECONDS, RATE = 4.0, 8000
#: Bytes of all pictures and sounds of a page; what does not fit is left out, and said.
MOST_BYTES = 1_500_000


def show_samples(samples: list[dict[str, Any]], split: Split) -> list[dict[str, Any]]:
    """The samples (by ``place`` in the split) with ``tiles``: a ``name`` and ``text``, ``image`` or ``sound``.

    Pictures and sounds are data addresses. Modalities that share a file share a tile.
    """
    left, shown = MOST_BYTES, []
    for sample in samples:
        tiles: list[dict[str, str]] = []
        for name, data in _files(split, sample["place"]).items():
            tile = _tile(data)
            size = sum(len(value) for part, value in tile.items() if part != "text")
            if size > left:
                tile = {"text": "(left out: the page would grow too large)"}
            else:
                left -= size
            tiles.append({"name": name, **tile})
        shown.append(sample | {"tiles": tiles})
    return shown


def _files(split: Split, i: int) -> dict[str, bytes]:
    """Each file of a sample once, under the names of the modalities that read it."""
    names: dict[bytes, str] = {}
    for m, modality in enumerate(split.modalities):
        if split.present_NM[i, m]:
            data = split.members(i, (modality,))[modality]
            names[data] = f"{names[data]} + {modality}" if data in names else modality
    return {name: data for data, name in names.items()}


def _tile(data: bytes) -> dict[str, str]:
    try:
        shown = picture(data, WIDTH)
        if isinstance(shown, str):
            return {"text": shown if len(shown) <= MOST_TEXT else shown[:MOST_TEXT].rstrip() + "..."}
        return {"image": _jpeg(shown), **_sound(data)}
    except BadSample as error:
        return {"text": f"({error})"}
    except Exception as error:  # of a decoder, for one file: the page shows the others
        return {"text": f"(cannot be decoded: {reason_of(error)})"}


def _jpeg(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=82)
    return _address("image/jpeg", stream.getvalue())


def _sound(data: bytes) -> dict[str, str]:
    """The first seconds, 8 kHz in 8 bits: enough to recognise, a tenth of what it was."""
    if not probe(data).numbers.get("sound (Hz)"):
        return {}
    wave_T, rate = decode_mono(data, SECONDS)
    common = int(np.gcd(RATE, rate))
    small_T = resample_poly(wave_T, RATE // common, rate // common)[: int(SECONDS * RATE)]
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(RATE)
        file.writeframes((128 + 127 * np.clip(small_T, -1, 1)).astype(np.uint8).tobytes())
    return {"sound": _address("audio/wav", stream.getvalue())}


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
