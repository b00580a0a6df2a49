"""The record of the depth modality. Light: torch and transformers are imported inside the functions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from u2a.modality import Inputs, ModalitySpec, Preprocessor, Tokens
from u2a_image.spec import IMAGE, ImageOptions

if TYPE_CHECKING:
    from torch import Tensor, nn


class DepthOptions(ImageOptions):
    """A recipe's section of kind ``depth``: an image encoder, and the range of depths."""

    near: float = Field(0.3, gt=0, description="nearest depth in metres that is told apart; nearer is white")
    far: float = Field(10.0, gt=0, description="farthest depth in metres that is told apart; farther is black")

    @model_validator(mode="after")
    def _range(self) -> DepthOptions:
        if self.near >= self.far:
            raise ValueError(f"near ({self.near:g} m) must be smaller than far ({self.far:g} m)")
        return self


def backbone(options: DepthOptions, *, weights: bool) -> nn.Module:
    """The image encoder that the image modality would build."""
    return IMAGE.backbone(options, weights=weights)


def embedding(backbone: nn.Module, inputs: Inputs) -> Tokens:
    """``pixel_values`` float [P, 3, R, R] to tokens, as an image."""
    return IMAGE.embedding(backbone, inputs)


def encoder(backbone: nn.Module, tokens: Tokens) -> Tensor:
    """All blocks and the final norm, as an image."""
    return IMAGE.encoder(backbone, tokens)


def width(options: DepthOptions) -> int:
    """Hidden size of the encoder."""
    return IMAGE.width(options)


def lora_targets(backbone: nn.Module) -> list[list[str]]:
    """Query, key, value and output of every block."""
    return IMAGE.lora_targets(backbone)


def share_key(options: DepthOptions) -> Hashable:
    """The image modality's: depth and image with the same checkpoint share one frozen copy."""
    return IMAGE.share_key(options)


def preprocessor(options: DepthOptions) -> Preprocessor:
    """See `u2a_plugin_depth.preprocess.DepthPreprocessor`."""
    from u2a_plugin_depth.preprocess import DepthPreprocessor

    return DepthPreprocessor.from_options(options)


def to_member(value: Any) -> bytes:
    """A float array or tensor [H, W] in metres, invalid places 0 or NaN, as NPY bytes."""
    from u2a_plugin_depth.decode import encode_npy

    return encode_npy(value)


DEPTH = ModalitySpec(
    name="depth",
    extensions=("png", "npy"),
    options=DepthOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=encoder,
    width=width,
    lora_targets=lora_targets,
    share_key=share_key,
    to_member=to_member,
)
