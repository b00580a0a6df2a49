"""Optional re-encoding while packing, so that shards hold what the encoders can use and no more.

What a file is, is told by its extension and content, never by the name of a modality. Nothing is ever made
larger: a smaller picture or a lower rate stays as it is. The same bytes in give the same out.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass

from u2a.media.sounds import decode_mono

PICTURES = ("jpg", "jpeg", "jpe", "jfif", "mpo", "avif", "png", "webp", "bmp", "tif", "tiff")
SOUNDS = (
    *("wav", "flac", "ogg", "oga", "opus", "mp3", "m4a", "m4b", "aac", "aif", "aiff", "aifc"),
    *("caf", "au", "w64", "wma", "amr", "3ga", "mka", "weba"),
)
_WHOLE = 86_400.0  # seconds


@dataclass(frozen=True)
class Recode:
    """What to re-encode; None leaves that kind of file as it is.

    Attributes:
        image_side: shorter side of pictures in pixels, as JPEG of quality 95.
        audio_rate: rate of sounds in Hz, mono, as 16-bit FLAC.
    """

    image_side: int | None = None
    audio_rate: int | None = None

    def __bool__(self) -> bool:
        return bool(self.image_side or self.audio_rate)

    def __call__(self, extension: str, member: bytes, allowed: Collection[str]) -> tuple[str, bytes]:
        """The file to store and its extension, one of ``allowed`` (what its modalities read).

        Raises:
            BadSample: the file cannot be decoded.
        """
        if extension in PICTURES and self.image_side:
            return _picture(extension, member, self.image_side, allowed)
        if extension in SOUNDS and self.audio_rate:
            return _sound(extension, member, self.audio_rate, allowed)
        return extension, member


def _picture(extension: str, member: bytes, side: int, allowed: Collection[str]) -> tuple[str, bytes]:
    from PIL import Image

    from u2a.media.pictures import decode_rgb, open_picture, picture_errors, strip

    with picture_errors(member):
        stored = open_picture(strip(member)[0])
    if min(stored.size) <= side or stored.mode not in ("L", "P", "RGB", "RGBA", "LA", "CMYK", "1"):
        return extension, member  # small enough, or values that JPEG would destroy (16-bit depth)
    image = decode_rgb(member)
    scale = side / min(image.size)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    found = next((e for e in ("jpg", "jpeg") if e in allowed), None)
    if found:
        small.save(out, format="JPEG", quality=95)
    else:
        small.save(out, format="PNG")
    return found or "png", out.getvalue()


def _sound(extension: str, member: bytes, rate: int, allowed: Collection[str]) -> tuple[str, bytes]:
    import numpy as np
    import soundfile
    import torch

    from u2a.media.filters import resample

    wave, own = decode_mono(member, _WHOLE)
    rate = min(rate, own)
    kind = "flac" if "flac" in allowed else "wav"
    if extension == kind and own == rate and soundfile.info(io.BytesIO(member)).channels == 1:
        return extension, member
    if own != rate:
        wave = resample(torch.from_numpy(wave), own, rate).numpy()
    out = io.BytesIO()
    soundfile.write(out, np.clip(wave, -1, 1), rate, format=kind.upper(), subtype="PCM_16")
    return kind, out.getvalue()
