"""Video encoders that read all frames of a clip in one row, and those that read one picture after another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Inputs, Tokens
from u2a.encoders.architectures import Architecture
from u2a.encoders.files import config_folder
from u2a.encoders.identity import VIDEO_FILES
from u2a.encoders.loading import config_of, load_architecture
from u2a.encoders.refusals import model_type
from u2a.encoders.structure import split_tokens
from u2a.errors import U2AError
from u2a_image import encoders as pictures
from u2a_video.architectures import ARCHITECTURES, NATIVE

if TYPE_CHECKING:
    from torch import nn

    from u2a_video.options import VideoOptions

DEFAULT_FRAMES = 3


def native(options: VideoOptions, packaged: Path) -> Architecture | None:
    """What is known of an encoder that reads all frames at once; None of one that reads pictures.

    Raises:
        U2AError: an unsupported architecture.
    """
    found = model_type(config_folder(options, packaged), tuple(ARCHITECTURES), options.encoder)
    return NATIVE.get(found)


def load(options: VideoOptions, *, weights: bool, packaged: Path) -> nn.Module:
    """Build the encoder that the checkpoint's ``model_type`` names.

    Raises:
        U2AError: an unsupported architecture, or frames or a resolution that it has no positions for.
    """
    known = native(options, packaged)
    if known is None:
        return pictures.load(options, weights=weights, packaged=packaged)
    clip_size(options, packaged)
    pictures.check_channels(config_of(known, options, packaged), options)
    return load_architecture(known, options, weights=weights, packaged=packaged, decisive=VIDEO_FILES)


def width(options: VideoOptions, packaged: Path) -> int:
    """Hidden size, from the configuration alone."""
    known = native(options, packaged)
    if known is None:
        return pictures.width(options, packaged)
    return int(config_of(known, options, packaged).hidden_size)


def clip_size(options: VideoOptions, packaged: Path) -> tuple[int, tuple[int, int] | None]:
    """How many frames a clip has, and the (height, width) that they must have; None = any.

    Raises:
        U2AError: the recipe wants what a native encoder has no positions for.
    """
    known = native(options, packaged)
    if known is None:
        return options.frames or DEFAULT_FRAMES, None
    config = config_of(known, options, packaged)
    free = known.class_name == "VJEPA2Model"  # its positions in time go on
    own = config.frames_per_clip if free else config.num_frames
    tubelet = config.tubelet_size if isinstance(config.tubelet_size, int) else config.tubelet_size[0]
    frames, size = options.frames or own, config.crop_size if free else config.image_size
    if frames % tubelet or not (free or frames == own):
        wanted = f"a multiple of {tubelet}" if free else str(own)
        raise U2AError(f"frames = {frames}: encoder {options.encoder} reads {wanted} at once; leave frames out")
    pair = (size, size) if isinstance(size, int) else (size[0], size[1])
    if options.resolution is not None and pair != (options.resolution, options.resolution):
        raise U2AError(
            f"resolution = {options.resolution}: encoder {options.encoder} has positions for {pair[1]} x "
            f"{pair[0]} pixels only; leave resolution out"
        )
    return frames, pair


def embed(backbone: Any, inputs: Inputs) -> Tokens:
    """Tokens of whole clips, or of frames as rows of their clips."""
    if "rows_P" in inputs:
        return replace(pictures.embed(backbone, inputs), rows_P=inputs["rows_P"])
    known: Architecture = backbone.u2a_architecture
    name = "pixel_values_videos" if known.class_name == "VJEPA2Model" else "pixel_values"
    return split_tokens(backbone, {name: inputs["pixel_values"]})
