"""The Audio Spectrogram Transformer, also at another length than its checkpoint's; encoders of waveforms."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.encoders.architectures import Architecture
from u2a.encoders.identity import AUDIO_FILES
from u2a.encoders.loading import config_of, load_architecture
from u2a.encoders.refusals import architecture_of
from u2a.errors import U2AError
from u2a_audio.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from u2a_audio.options import AudioOptions

_SPECIAL = 2  # class and distillation token

#: What is known of a checkpoint's architecture, by options and folder of packaged checkpoints.
architecture = partial(architecture_of, ARCHITECTURES)


def configuration(options: AudioOptions, packaged: Path) -> Any:
    """The checkpoint's configuration (its ``max_length`` is the checkpoint's, not the options').

    Raises:
        U2AError: an unsupported architecture.
    """
    return config_of(architecture(options, packaged), options, packaged)


def load(options: AudioOptions, *, weights: bool, packaged: Path) -> nn.Module:
    """Build the encoder and fit its position table to ``max_length``; see `u2a.encoders.loading.load_backbone`.

    Raises:
        U2AError: also if ``max_length`` is shorter than one patch.
    """
    known = architecture(options, packaged)
    if known.class_name != "ASTModel":
        return _load_waves(known, options, weights=weights, packaged=packaged)
    patch = configuration(options, packaged).patch_size
    if options.max_length is not None and options.max_length < patch:
        raise U2AError(f"max_length = {options.max_length} is less than one patch of {patch} frames")
    module: Any = load_architecture(known, options, weights=weights, packaged=packaged, decisive=AUDIO_FILES)
    if options.max_length is not None and options.max_length != module.config.max_length:
        _set_length(module, options.max_length)
    return module


def _load_waves(known: Architecture, options: AudioOptions, *, weights: bool, packaged: Path) -> nn.Module:
    module: Any = load_architecture(known, options, weights=weights, packaged=packaged, decisive=AUDIO_FILES)
    if getattr(module, "adapter", None) is not None:
        raise U2AError(
            f"encoder {options.encoder} has an adapter behind its blocks (add_adapter in config.json), which "
            "drops tokens; set it to false"
        )
    if getattr(module, "intermediate_ffn", None) is not None:
        raise U2AError(
            f"encoder {options.encoder} has a layer behind its blocks (use_intermediate_ffn_before_adapter in "
            "config.json), which is not supported; set it to false"
        )
    if known.class_name == "WhisperModel":
        _shorten(module, options)
    if getattr(module.config, "do_stable_layer_norm", False):
        module.u2a_architecture = replace(known, norm="encoder.layer_norm")
    return module


def _shorten(module: Any, options: AudioOptions) -> None:
    """Whisper reads exactly as many frames as it has positions for: for shorter sounds the first ones do."""
    from torch import nn

    frames, places = options.max_length, module.config.max_source_positions
    if frames is None or frames == 2 * places:
        return
    if frames > 2 * places or frames % 2:
        raise U2AError(
            f"max_length = {frames}: {options.encoder} takes an even number of at most {2 * places} frames"
        )
    module.config.max_source_positions = frames // 2
    module.embed_positions = nn.Embedding.from_pretrained(module.embed_positions.weight.detach()[: frames // 2])


def _set_length(module: Any, frames: int) -> None:
    from torch import nn

    embeddings, config = module.embeddings, module.config
    grid = embeddings.get_shape(config)
    config.max_length = frames
    table = interpolate_positions(
        embeddings.position_embeddings.detach(), grid, embeddings.get_shape(config)[1]
    )
    embeddings.position_embeddings = nn.Parameter(table)


def interpolate_positions(table_1LD: Tensor, grid: tuple[int, int], patches: int) -> Tensor:
    """The position table for another number of patches in time.

    Bilinear along time, as AST's authors do to lengthen; frequency and the two special tokens stay. (To
    shorten, they cut the middle out of the table; interpolating keeps "early" and "late" where they were.)

    Args:
        table_1LD: float [1, 2 + frequencies * times, D], frequency-major.
        grid: the table's numbers of (frequencies, times).
        patches: the wanted number of times.
    """
    import torch

    frequencies, times = grid
    special, rest = table_1LD[:, :_SPECIAL], table_1LD[:, _SPECIAL:]
    rest_1DFT = rest.transpose(1, 2).reshape(1, -1, frequencies, times)
    resized = torch.nn.functional.interpolate(rest_1DFT, size=(frequencies, patches), mode="bilinear")
    return torch.cat([special, resized.flatten(2).transpose(1, 2)], dim=1).contiguous()
