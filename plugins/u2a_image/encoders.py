"""Vision encoders of transformers: what is the same in all of them, and where some differ."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from u2a.contract.modality import Inputs, Tokens
from u2a.encoders.architectures import Architecture
from u2a.encoders.files import PretrainedOptions
from u2a.encoders.identity import IMAGE_FILES
from u2a.encoders.loading import config_of, load_architecture
from u2a.encoders.positions import fit_grid
from u2a.encoders.refusals import architecture_of
from u2a.encoders.structure import split_tokens
from u2a.errors import U2AError
from u2a_image.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from torch import Tensor, nn


#: What is known of a checkpoint's architecture, by options and folder of packaged checkpoints.
architecture = partial(architecture_of, ARCHITECTURES)


def load(options: PretrainedOptions, *, weights: bool, packaged: Path) -> nn.Module:
    """Build the encoder that the checkpoint's ``model_type`` names; see `u2a.encoders.loading.load_backbone`.

    Raises:
        U2AError: an unsupported architecture, other than three channels, or a resolution smaller than a patch.
    """
    known = architecture(options, packaged)
    check_channels(config_of(known, options, packaged), options)
    module: Any = load_architecture(known, options, weights=weights, packaged=packaged, decisive=IMAGE_FILES)
    if known.class_name != "Siglip2VisionModel":
        fit_grid(module, options.encoder)
    resolution, patch = getattr(options, "resolution", None), module.config.patch_size
    patch = max(patch) if isinstance(patch, list | tuple) else patch
    if resolution is not None and resolution < patch:
        raise U2AError(
            f"resolution = {resolution} is smaller than one {patch}-pixel patch of {options.encoder}"
        )
    return module


def check_channels(config: Any, options: PretrainedOptions) -> None:
    """Refuse an encoder of grey pictures, or of more than colours.

    Raises:
        U2AError: names the key.
    """
    if (channels := getattr(config, "num_channels", getattr(config, "in_chans", 3))) != 3:
        raise U2AError(
            f"encoder {options.encoder} reads pictures of {channels} channels (config.json: num_channels), and "
            "u2a gives three, red, green and blue; use a checkpoint of colour pictures"
        )


def width(options: PretrainedOptions, packaged: Path) -> int:
    """Hidden size, from the configuration alone."""
    return int(config_of(architecture(options, packaged), options, packaged).hidden_size)


def embed(backbone: Any, inputs: Inputs) -> Tokens:
    """Tokens of pictures, with positions interpolated where the size is not the checkpoint's own."""
    known: Architecture = backbone.u2a_architecture
    if "pixel_attention_mask" in inputs:
        return split_tokens(backbone, inputs, inputs["pixel_attention_mask"].bool())
    pixel_values_NCHW: Tensor = inputs["pixel_values"]
    given: dict[str, Any] = {"pixel_values": pixel_values_NCHW}
    if "mask_ratio" in known.settings:  # ViTMAE shuffles patches by this, and then drops a share of 0
        patches = (pixel_values_NCHW[0, 0].numel()) // backbone.config.patch_size**2
        given["noise"] = torch.arange(patches, device=pixel_values_NCHW.device).expand(
            pixel_values_NCHW.shape[0], -1
        )
    return split_tokens(backbone, given)
