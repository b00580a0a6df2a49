"""Vision encoders of transformers: what is the same in all of them, and where CLIP differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.encoders.blocks import run_blocks
from u2a.encoders.files import PretrainedOptions, config_folder
from u2a.encoders.identity import IMAGE_FILES
from u2a.encoders.loading import load_backbone, load_config, model_type, transformers_class
from u2a.encoders.positions import fit_grid
from u2a.errors import U2AError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

#: model_type in config.json -> (class in transformers, its arguments). A whole CLIP gives its vision tower.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIPVisionModel", {}),
    "clip_vision_model": ("CLIPVisionModel", {}),
    "vit": ("ViTModel", {"add_pooling_layer": False}),
    "dinov2": ("Dinov2Model", {}),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {}),
}
#: Parameters for masked-image pretraining: no forward pass of ours uses them.
UNUSED = ("embeddings.mask_token",)


def load(options: PretrainedOptions, *, weights: bool, packaged: Path) -> nn.Module:
    """Build the encoder that the checkpoint's ``model_type`` names; see `u2a.encoders.loading.load_backbone`.

    Raises:
        U2AError: an unsupported architecture, or a resolution smaller than one patch.
    """
    model_class, init = _architecture(options, packaged)
    module: Any = load_backbone(
        model_class,
        options,
        weights=weights,
        packaged=packaged,
        unused=UNUSED,
        decisive=IMAGE_FILES,
        **init,
    )
    fit_grid(module, options.encoder)
    resolution, patch = getattr(options, "resolution", None), module.config.patch_size
    patch = max(patch) if isinstance(patch, list | tuple) else patch
    if resolution is not None and resolution < patch:
        raise U2AError(
            f"resolution = {resolution} is smaller than one {patch}-pixel patch of {options.encoder}"
        )
    return module


def width(options: PretrainedOptions, packaged: Path) -> int:
    """Hidden size, from the configuration alone."""
    model_class, _ = _architecture(options, packaged)
    return int(load_config(model_class, config_folder(options, packaged)).hidden_size)


def embed(backbone: Any, pixel_values_NCHW: Tensor) -> Tensor:
    """CLS and patch embeddings with positions, interpolated where the size is not the checkpoint's own."""
    if backbone.config.model_type in ("dinov2", "dinov2_with_registers"):  # these always interpolate
        return backbone.embeddings(pixel_values_NCHW)
    return backbone.embeddings(pixel_values_NCHW, interpolate_pos_encoding=True)


def encode(backbone: Any, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
    """Blocks and final norm. CLIP has one more norm before its blocks (and by itself norms only CLS)."""
    if hasattr(backbone, "pre_layrnorm"):
        hidden_NLD = backbone.pre_layrnorm(hidden_NLD)
    hidden_NLD = run_blocks(backbone, hidden_NLD, valid_NL)
    final_norm = backbone.post_layernorm if hasattr(backbone, "post_layernorm") else backbone.layernorm
    return final_norm(hidden_NLD)


def _architecture(options: PretrainedOptions, packaged: Path) -> tuple[type[PreTrainedModel], dict[str, Any]]:
    folder = config_folder(options, packaged)
    name, init = ARCHITECTURES[model_type(folder, tuple(ARCHITECTURES), options.encoder)]
    return transformers_class(name), init
