"""The fields of a recipe's depth section."""

from __future__ import annotations

from types import MappingProxyType

from pydantic import Field, model_validator

from u2a_image.architectures import ARCHITECTURES, PATCHES
from u2a_image.options import ImageOptions


class DepthOptions(ImageOptions):
    """A recipe's section of kind ``depth``: an image encoder, and the range of depths."""

    #: Not those that read patches of pictures of any shape.
    architectures = MappingProxyType({k: v for k, v in ARCHITECTURES.items() if k not in PATCHES})

    near: float = Field(0.3, gt=0, description="nearest depth in metres that is told apart; nearer is white")
    far: float = Field(10.0, gt=0, description="farthest depth in metres that is told apart; farther is black")

    @model_validator(mode="after")
    def _range(self) -> DepthOptions:
        if self.near >= self.far:
            raise ValueError(f"near ({self.near:g} m) must be smaller than far ({self.far:g} m)")
        return self
