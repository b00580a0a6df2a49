"""The record of the depth modality. Light: torch and transformers are imported inside the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Description, Inputs, ModalitySpec, Preprocessor, Tokens
from u2a.encoders.pretrained import PRETRAINED
from u2a_image.spec import IMAGE
from u2a_plugin_depth.options import DepthOptions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn


def backbone(options: DepthOptions, *, weights: bool) -> nn.Module:
    """The image encoder that the image modality would build."""
    return IMAGE.backbone(options, weights=weights)


def embedding(backbone: nn.Module, inputs: Inputs) -> Tokens:
    """``pixel_values`` float [P, 3, R, R] to tokens, as an image."""
    return IMAGE.embedding(backbone, inputs)


def width(options: DepthOptions) -> int:
    """Hidden size of the encoder."""
    return IMAGE.width(options)


def preprocessor(options: DepthOptions) -> Preprocessor:
    """See `u2a_plugin_depth.preprocess.DepthPreprocessor`."""
    from u2a_plugin_depth.preprocess import DepthPreprocessor

    return DepthPreprocessor.from_options(options)


def to_member(value: Any) -> bytes:
    """A float array or tensor [H, W] in metres, invalid places 0 or NaN, as NPY bytes."""
    from u2a_plugin_depth.decode import encode_npy

    return encode_npy(value)


def describe(options: DepthOptions, member: bytes) -> Description:
    """Size, range of depths, and the share of places that have none."""
    from u2a_plugin_depth.shown import numbers

    return Description("depth", numbers(member))


def preview(options: DepthOptions, member: bytes, width: int) -> Image:
    """Inverse depth in the recipe's range, near white and far or unknown black, as the encoder gets it."""
    from u2a_plugin_depth.shown import picture

    return picture(member, options.near, options.far, width)


DEPTH = ModalitySpec(
    name="depth",
    extensions=("png", "npy"),
    options=DepthOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=IMAGE.encoder,
    width=width,
    lora_targets=IMAGE.lora_targets,
    first_blocks=IMAGE.first_blocks,
    skip_blocks=IMAGE.skip_blocks,
    to_member=to_member,
    describe=describe,
    preview=preview,
    tune=PRETRAINED,
    api=2,
)
