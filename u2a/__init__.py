"""u2a: adapt pretrained unimodal transformers to multimodal tasks; keep working when modalities are missing."""

from importlib.metadata import version

from u2a.hookspecs import hookimpl
from u2a.modality import ModalityOptions, ModalitySpec, Tokens

__version__ = version("u2a")
__all__ = ["ModalityOptions", "ModalitySpec", "Tokens", "hookimpl"]
