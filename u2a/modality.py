"""The plugin contract: the public name of `u2a.contract.modality`."""

from u2a.contract.modality import (
    Description,
    Embedding,
    Encoder,
    Example,
    Inputs,
    ModalityOptions,
    ModalitySpec,
    Preprocessor,
    Suggestion,
    Tokens,
)
from u2a.contract.versions import API_VERSION, SUPPORTED_API

__all__ = [
    "API_VERSION",
    "SUPPORTED_API",
    "Description",
    "Embedding",
    "Encoder",
    "Example",
    "Inputs",
    "ModalityOptions",
    "ModalitySpec",
    "Preprocessor",
    "Suggestion",
    "Tokens",
]
