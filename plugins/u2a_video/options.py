"""The fields of a recipe's video section."""

from __future__ import annotations

from pydantic import Field

from u2a_image.options import ImageOptions
from u2a_video.architectures import ARCHITECTURES


class VideoOptions(ImageOptions):
    """A recipe's section of kind ``video``: an image section and the number of frames."""

    architectures = ARCHITECTURES

    frames: int | None = Field(
        None,
        gt=0,
        le=256,
        description="frames of a clip: one of each equal part, random in training, else its middle; 3, or as "
        "many as an encoder of whole clips reads, if left out",
    )
