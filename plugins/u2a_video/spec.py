"""The record of the video modality: the image modality's encoders, with several frames a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Inputs, ModalitySpec, Preprocessor, Suggestion, Tokens
from u2a_image.options import CONFIGS
from u2a_image.spec import IMAGE
from u2a_video.options import VideoOptions

if TYPE_CHECKING:
    from torch import nn


def embedding(backbone: nn.Module, inputs: Inputs) -> Tokens:
    """``pixel_values`` float [N, 3, H, W], all frames of all clips, and ``rows_P``, the frames of each."""
    from u2a_image import encoders

    return replace(encoders.embed(backbone, inputs["pixel_values"]), rows_P=inputs["rows_P"])


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


VIDEO = ModalitySpec(
    name="video",
    extensions=(
        "mp4",
        "mov",
        "mkv",
        "webm",
        "avi",
        "gif",
        "m4v",
        "flv",
        "ts",
        "m2ts",
        "mpg",
        "mpeg",
        "3gp",
        "wmv",
    ),
    options=VideoOptions,
    preprocessor=preprocessor,
    backbone=IMAGE.backbone,
    embedding=embedding,
    encoder=IMAGE.encoder,
    width=IMAGE.width,
    lora_targets=IMAGE.lora_targets,
    to_member=to_member,
    suggest=suggest,
)
