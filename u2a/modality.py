"""The plugin contract: the public name of `u2a.contract.modality`."""

from u2a.contract.modality import (
    API_VERSION,
    SUPPORTED_API,
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
