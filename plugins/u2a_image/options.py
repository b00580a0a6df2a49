"""The fields of a recipe's image section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from u2a.encoders.files import PretrainedOptions
from u2a_image.architectures import ARCHITECTURES

CONFIGS = Path(__file__).parent / "configs"


def _increasing(scale: tuple[float, float]) -> tuple[float, float]:
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError("crop_scale must be two shares of the area, 0 < smallest <= largest <= 1")
    return scale


class ImageOptions(PretrainedOptions):
    """A recipe's section of kind ``image``."""

    architectures = ARCHITECTURES

    resolution: int | None = Field(
        None, gt=0, le=4096, description="side of the square input in pixels; the checkpoint's if left out"
    )
    augment: bool = Field(True, description="random crops in training; otherwise the centre, as in evaluation")
    flip: bool = Field(True, description="mirror half of the training images")
    crop_scale: Annotated[tuple[float, float], AfterValidator(_increasing)] = Field(
        (0.08, 1.0), description="smallest and largest share of the area that a random crop keeps"
    )
