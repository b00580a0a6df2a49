"""The record of the image modality. Light: torch and transformers are imported inside the functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Description, Inputs, ModalitySpec, Preprocessor, Suggestion, Tokens
from u2a.encoders.pretrained import PRETRAINED, encode, first_blocks, lora_targets, skip_blocks
from u2a_image.options import CONFIGS, ImageOptions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn


def backbone(options: ImageOptions, *, weights: bool) -> nn.Module:
    """The vision encoder; see `u2a.encoders.loading.load_backbone`."""
    from u2a_image import encoders

    return encoders.load(options, weights=weights, packaged=CONFIGS)


def embedding(backbone: nn.Module, inputs: Inputs) -> Tokens:
    """``pixel_values`` float [N, 3, H, W] to tokens, positions interpolated to H x W; or patches (SigLIP 2)."""
    from u2a_image import encoders

    return encoders.embed(backbone, inputs)


def width(options: ImageOptions) -> int:
    """Hidden size of the encoder."""
    from u2a_image import encoders

    return encoders.width(options, CONFIGS)


def preprocessor(options: ImageOptions) -> Preprocessor:
    """See `u2a_image.preprocess.ImagePreprocessor`."""
    from u2a_image import encoders
    from u2a_image.patches import PatchPreprocessor
    from u2a_image.preprocess import ImagePreprocessor

    if encoders.architecture(options, CONFIGS).class_name == "Siglip2VisionModel":
        return PatchPreprocessor.from_options(options, CONFIGS)
    return ImagePreprocessor.from_options(options, CONFIGS)


def to_member(value: Any) -> bytes:
    """A PIL image, or an array [H, W], [H, W, 1] or [H, W, 3], uint8 or float in 0..1, as PNG bytes."""
    from u2a_image.decode import encode_png

    return encode_png(value)


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """See `u2a_image.suggest`."""
    from u2a_image.suggest import suggest

    return suggest(size, members, given)


def describe(options: ImageOptions, member: bytes) -> Description:
    """A picture's size."""
    from u2a.media.probe import image_numbers

    return Description("image", image_numbers(member))


def preview(options: ImageOptions, member: bytes, width: int) -> Image:
    """A small copy, as it is read: upright, in RGB."""
    from u2a.media.probe import thumbnail

    return thumbnail(member, width)


IMAGE = ModalitySpec(
    name="image",
    extensions=("png", "jpg", "jpeg", "jpe", "jfif", "mpo", "webp", "avif", "gif", "bmp", "tif", "tiff"),
    options=ImageOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=encode,
    width=width,
    lora_targets=lora_targets,
    first_blocks=first_blocks,
    skip_blocks=skip_blocks,
    to_member=to_member,
    suggest=suggest,
    describe=describe,
    preview=preview,
    tune=PRETRAINED,
    api=2,
)
