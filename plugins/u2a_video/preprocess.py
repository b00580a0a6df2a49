"""Video bytes to a few normalised frames: one of each equal part of the clip, all with the same crop."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from u2a.contract.modality import Example, Inputs
from u2a.errors import U2AError
from u2a_image.preprocess import PixelTransform
from u2a_video import encoders
from u2a_video.decode import decode_frames

if TYPE_CHECKING:
    from u2a_video.options import VideoOptions


@dataclass(frozen=True)
class VideoPreprocessor:
    """Member bytes to ``{"pixel_values": float32 [F, 3, H, W]}``.

    Collated: ``pixel_values`` [N, 3, H, W] with all frames of all clips, and ``rows_P``, long, the
    number of frames of each clip; for encoders of whole clips ``pixel_values`` [P, F, 3, H, W] alone.
    """

    transform: PixelTransform
    frames: int
    whole: bool = False

    @classmethod
    def from_options(cls, options: VideoOptions, packaged: Path) -> VideoPreprocessor:
        """See `u2a_image.preprocess.PixelTransform.from_options`.

        Raises:
            U2AError: also if an encoder of whole clips has no positions for the frames or their size.
        """
        frames, size = encoders.clip_size(options, packaged)
        transform = PixelTransform.from_options(options, packaged)
        made = transform.constants.output
        if size is not None and made != size:
            raise U2AError(
                f"encoder {options.encoder}: its processor makes frames of {made[1]} x {made[0]}, but "
                f"config.json has positions for {size[1]} x {size[0]}: the files are of different checkpoints"
            )
        return cls(transform, frames, size is not None)

    def __call__(self, member: bytes, *, train: bool, seed: int) -> Example:
        """Decode, crop, scale and normalise the chosen frames.

        Raises:
            BadSample: see `u2a_video.decode.decode_frames`.
        """
        draw = random.Random(seed) if train else None
        pictures = decode_frames(member, lambda times: choose_by_time(times, self.frames, draw))
        pixels = []
        for picture in pictures:  # the same crop, unless the size changes in mid-film
            height, width = picture.shape[:2]
            view = self.transform.choose((width, height), train=train, seed=seed)
            pixels.append(self.transform(torch.from_numpy(picture).permute(2, 0, 1), view))
        return {"pixel_values": torch.stack(pixels)}

    def constants(self) -> dict[str, Any]:
        """How bytes become inputs, for programs without u2a: the middle frames of equal parts, as pictures."""
        return {"reader": "video", "frames": self.frames, **asdict(self.transform.constants)}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """All frames one after another, and how many each clip has."""
        clips = [example["pixel_values"] for example in examples]
        if self.whole:
            return {"pixel_values": torch.stack(clips)}
        return {"pixel_values": torch.cat(clips), "rows_P": torch.tensor([len(clip) for clip in clips])}


def choose_by_time(times: Sequence[int], parts: int, draw: random.Random | None) -> list[int]:
    """`choose_frames` for parts of equal duration: phones and screen recorders do not keep their rate.

    Times that are even but for rounding are taken for even.
    """
    count, start = len(times), times[0]
    step = (times[-1] - start) / max(1, count - 1)
    if all(abs(time - start - n * step) < step / 2 for n, time in enumerate(times)) or not step:
        return choose_frames(count, parts, draw)
    last = median(later - time for time, later in pairwise(times))  # how long the last frame is shown
    return [
        bisect_right(times, start + share * (times[-1] - start + last)) - 1 for share in _shares(parts, draw)
    ]


def choose_frames(count: int, parts: int, draw: random.Random | None) -> list[int]:
    """One index of each of ``parts`` equal parts of ``count`` frames: random with ``draw``, else the middle.

    With fewer frames than parts, indices repeat.
    """
    return [int(share * count) for share in _shares(parts, draw)]


def _shares(parts: int, draw: random.Random | None) -> list[Fraction]:
    """A place in each of ``parts`` equal parts of 0..1."""
    return [(part + Fraction(draw.random() if draw else 0.5)) / parts for part in range(parts)]
