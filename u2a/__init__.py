"""u2a: adapts pretrained unimodal transformers to multimodal tasks and copes with missing modalities."""

from importlib.metadata import version

from u2a.hookspecs import hookimpl
from u2a.modality import ModalityOptions, ModalitySpec, Tokens

__version__ = version("u2a")
__all__ = ["ModalityOptions", "ModalitySpec", "Tokens", "hookimpl"]
