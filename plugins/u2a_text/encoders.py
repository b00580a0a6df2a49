"""Text encoders of transformers: BERT, and RoBERTa, which counts its positions from the padding id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import Tokens
from u2a.encoders.files import PretrainedOptions, config_folder
from u2a.encoders.identity import TEXT_FILES
from u2a.encoders.loading import load_backbone, load_config, model_type, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

#: model_type in config.json -> class in transformers.
ARCHITECTURES = {"bert": "BertModel", "roberta": "RobertaModel", "xlm-roberta": "XLMRobertaModel"}
#: The pooler is kept, so that the model is the published one, but nothing runs it.
UNUSED = ("pooler.",)


def load(options: PretrainedOptions, *, weights: bool, packaged: Path) -> nn.Module:
    """Build the encoder that the checkpoint's ``model_type`` names; see `encoders.loading.load_backbone`."""
    return load_backbone(
        architecture(options, packaged),
        options,
        weights=weights,
        unused=UNUSED,
        packaged=packaged,
        decisive=TEXT_FILES,
    )


def width(options: PretrainedOptions, packaged: Path) -> int:
    """Hidden size, from the configuration alone."""
    return int(configuration(options, packaged).hidden_size)


def configuration(options: PretrainedOptions, packaged: Path) -> Any:
    """The checkpoint's configuration."""
    return load_config(architecture(options, packaged), config_folder(options, packaged))


def has_class_token(config: Any) -> bool:
    """Whether the first position is read as the class token."""
    return True


def max_tokens(options: PretrainedOptions, packaged: Path) -> int:
    """How many positions the checkpoint has for real tokens (RoBERTa's first ``pad_token_id + 1`` are not)."""
    config: Any = configuration(options, packaged)
    reserved = 0 if config.model_type == "bert" else config.pad_token_id + 1
    return int(config.max_position_embeddings) - reserved


def embed(backbone: Any, input_ids_NL: Tensor, attention_mask_NL: Tensor) -> Tokens:
    """Word, position and type embeddings; everything is of type 0 (one text, no pair)."""
    hidden_NLD = backbone.embeddings(input_ids=input_ids_NL)
    return Tokens(hidden_NLD, valid_NL=attention_mask_NL.bool())


def architecture(options: PretrainedOptions, packaged: Path) -> type[PreTrainedModel]:
    """The transformers class of the checkpoint.

    Raises:
        U2AError: an unsupported architecture.
    """
    folder = config_folder(options, packaged)
    return transformers_class(ARCHITECTURES[model_type(folder, tuple(ARCHITECTURES), options.encoder)])
