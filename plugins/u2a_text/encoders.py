"""Text encoders of transformers, by their structure; RoBERTa and others count positions from the padding id."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Tokens
from u2a.encoders.files import PretrainedOptions
from u2a.encoders.identity import TEXT_FILES
from u2a.encoders.loading import config_of, load_architecture
from u2a.encoders.refusals import architecture_of
from u2a.encoders.structure import split_tokens
from u2a.errors import U2AError
from u2a_text.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Their position tables begin behind the padding id.
_BEHIND_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "esm")
_UNLIMITED = 1 << 20

#: What is known of a checkpoint's architecture, by options and folder of packaged checkpoints.
architecture = partial(architecture_of, ARCHITECTURES)


def load(options: PretrainedOptions, *, weights: bool, packaged: Path) -> nn.Module:
    """Build the encoder that the checkpoint's ``model_type`` names; see `encoders.loading.load_architecture`.

    Raises:
        U2AError: an unsupported architecture, or a part of it that is unsupported.
    """
    module: Any = load_architecture(
        architecture(options, packaged), options, weights=weights, packaged=packaged, decisive=TEXT_FILES
    )
    if getattr(getattr(module, "encoder", None), "conv", None) is not None:
        raise U2AError(
            f"encoder {options.encoder} has a convolution over its first block's tokens (conv_kernel_size), "
            "where a mask token has no place; DeBERTa v3 checkpoints have none"
        )
    return module


def width(options: PretrainedOptions, packaged: Path) -> int:
    """Hidden size, from the configuration alone."""
    return int(configuration(options, packaged).hidden_size)


def configuration(options: PretrainedOptions, packaged: Path) -> Any:
    """The checkpoint's configuration."""
    return config_of(architecture(options, packaged), options, packaged)


def max_tokens(options: PretrainedOptions, packaged: Path) -> int:
    """How many positions the checkpoint has for real tokens (RoBERTa's first ``pad_token_id + 1`` are not)."""
    config: Any = configuration(options, packaged)
    if config.model_type == "t5" or getattr(config, "position_embedding_type", "") == "rotary":
        return _UNLIMITED  # relative positions
    reserved = config.pad_token_id + 1 if config.model_type in _BEHIND_PADDING else 0
    return int(config.max_position_embeddings) - reserved


def embed(backbone: Any, input_ids_NL: Tensor, attention_mask_NL: Tensor) -> Tokens:
    """Word, position and type embeddings; everything is of type 0 (one text, no pair)."""
    inputs = {"input_ids": input_ids_NL, "attention_mask": attention_mask_NL}
    return split_tokens(backbone, inputs, attention_mask_NL.bool())
