"""Video bytes to a few normalised frames: one of each equal part of the clip, all with the same crop."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
        pictures = decode_frames(member, lambda count: choose_frames(count, self.frames, draw))
        pixels = []
        for picture in pictures:  # the same crop, unless the size changes in mid-film
            height, width = picture.shape[:2]
            view = self.transform.choose((width, height), train=train, seed=seed)
            pixels.append(self.transform(torch.from_numpy(picture).permute(2, 0, 1), view))
        return {"pixel_values": torch.stack(pixels)}

    def collate(self, examples: Sequence[Example]) -> Inputs:
        """All frames one after another, and how many each clip has."""
        clips = [example["pixel_values"] for example in examples]
        if self.whole:
            return {"pixel_values": torch.stack(clips)}
        return {"pixel_values": torch.cat(clips), "rows_P": torch.tensor([len(clip) for clip in clips])}


def choose_frames(count: int, parts: int, draw: random.Random | None) -> list[int]:
    """One index of each of ``parts`` equal parts of ``count`` frames: random with ``draw``, else the middle.

    With fewer frames than parts, indices repeat.
    """
    shares = [draw.random() if draw else 0.5 for _ in range(parts)]
    return [int((part + share) * count / parts) for part, share in enumerate(shares)]
