"""The record of the video modality: image encoders frame by frame, or encoders of whole clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Description, Inputs, ModalitySpec, Preprocessor, Suggestion, Tokens
from u2a.encoders.pretrained import PRETRAINED
from u2a_image.options import CONFIGS
from u2a_image.spec import IMAGE
from u2a_video.options import VideoOptions

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn


def backbone(options: VideoOptions, *, weights: bool) -> nn.Module:
    """The encoder, of pictures or of whole clips; see `u2a.encoders.loading.load_backbone`."""
    from u2a_video import encoders

    return encoders.load(options, weights=weights, packaged=CONFIGS)


def width(options: VideoOptions) -> int:
    """Hidden size of the encoder."""
    from u2a_video import encoders

    return encoders.width(options, CONFIGS)


def embedding(backbone: nn.Module, inputs: Inputs) -> Tokens:
    """``pixel_values`` float [N, 3, H, W], all frames of all clips, and ``rows_P``, the frames of each.

    Of encoders that read whole clips: ``pixel_values`` [P, F, 3, H, W] alone.
    """
    from u2a_video import encoders

    return encoders.embed(backbone, inputs)


def preprocessor(options: VideoOptions) -> Preprocessor:
    """See `u2a_video.preprocess.VideoPreprocessor`."""
    from u2a_video.preprocess import VideoPreprocessor

    return VideoPreprocessor.from_options(options, CONFIGS)


def to_member(value: Any) -> bytes:
    """A pair (frames uint8 [T, H, W, 3], frames per second) as a lossless Matroska file."""
    from u2a_video.decode import encode_video

    return encode_video(value)


def suggest(size: str, members: Sequence[bytes], given: Mapping[str, Any]) -> Suggestion | None:
    """See `u2a_video.suggest`."""
    from u2a_video.suggest import suggest

    return suggest(size, members, given)


def describe(options: VideoOptions, member: bytes) -> Description:
    """A film's length, rates and size."""
    from u2a.media.probe import film_numbers

    return Description("video", film_numbers(member))


def preview(options: VideoOptions, member: bytes, width: int) -> Image:
    """Some frames, upright."""
    from u2a.media.probe import film

    return film(member, width)


VIDEO = ModalitySpec(
    name="video",
    extensions=(
        *("mp4", "mov", "mkv", "webm", "avi", "gif", "m4v", "flv", "ts", "mts", "m2ts", "mpg", "mpeg", "vob"),
        *("3gp", "3g2", "wmv", "asf", "ogv"),
    ),
    options=VideoOptions,
    preprocessor=preprocessor,
    backbone=backbone,
    embedding=embedding,
    encoder=IMAGE.encoder,
    width=width,
    lora_targets=IMAGE.lora_targets,
    first_blocks=IMAGE.first_blocks,
    skip_blocks=IMAGE.skip_blocks,
    to_member=to_member,
    suggest=suggest,
    describe=describe,
    preview=preview,
    tune=PRETRAINED,
    api=2,
)
