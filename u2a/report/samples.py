"""Samples as the page shows them: small pictures, texts and short sounds, inlined and bounded in bytes."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy.signal import resample_poly
from torch import Tensor

from u2a.contract.blame import reason_of
from u2a.data.inspection.members import preview
from u2a.data.reading.split import Split
from u2a.errors import BadSample
from u2a.media.sounds import decode_mono
from u2a.recipe.sections import Recipe

WIDTH = 200
MOST_TEXT = 600
SECONDS, RATE = 4.0, 8000
#: Bytes of all pictures and sounds of a page; what does not fit is left out, and said.
MOST_BYTES = 1_500_000


def show_samples(
    samples: list[dict[str, Any]], place_N: Sequence[int] | Tensor, split: Split, recipe: Recipe
) -> list[dict[str, Any]]:
    """The samples with ``tiles``: a ``name`` and ``text``, ``image`` or ``sound``.

    Pictures are the modality's own previews. Pictures and sounds are data addresses.

    Args:
        samples: each with its ``place`` among those that are scored; place_N: where these are in the split.
    """
    left, shown = MOST_BYTES, []
    for sample in samples:
        tiles: list[dict[str, str]] = []
        heard: set[bytes] = set()  # modalities may share a file, whose sound is played once
        for name, data in _members(split, int(place_N[sample["place"]])).items():
            tile = _tile(recipe, name, data, with_sound=data not in heard)
            size = sum(len(value) for part, value in tile.items() if part != "text")
            if size > left:
                tile = {"text": "(left out: the page would grow too large)"}
            else:
                left -= size
            heard |= {data} if "sound" in tile else set()
            tiles.append({"name": name, **tile})
        shown.append(sample | {"tiles": tiles})
    return shown


def _members(split: Split, i: int) -> dict[str, bytes]:
    there = [name for name, present in zip(split.modalities, split.present_NM[i], strict=True) if present]
    return split.members(i, there)


def _tile(recipe: Recipe, name: str, data: bytes, *, with_sound: bool) -> dict[str, str]:
    try:
        shown = preview(recipe, name, data, WIDTH)
        if isinstance(shown, str):
            return {"text": shown if len(shown) <= MOST_TEXT else shown[:MOST_TEXT].rstrip() + "..."}
        return {"image": _jpeg(shown), **(_sound(data) if with_sound else {})}
    except BadSample as error:
        return {"text": f"({error})"}
    except Exception as error:  # of a decoder or a plugin, for one file: the page shows the others
        return {"text": f"(cannot be decoded: {reason_of(error)})"}


def _jpeg(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=82)
    return _address("image/jpeg", stream.getvalue())


def _sound(data: bytes) -> dict[str, str]:
    """The first seconds, if it has a sound: 8 kHz in 8 bits, enough to recognise, a tenth of what it was."""
    try:
        wave_T, rate = decode_mono(data, SECONDS)
    except BadSample:  # a picture, or a silent film
        return {}
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
