"""u2a: adapts pretrained unimodal transformers to multimodal tasks and copes with missing modalities."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from u2a.extensions import Logger, LoggerSpec, MetricSpec
from u2a.hookspecs import hookimpl
from u2a.modality import ModalityOptions, ModalitySpec, Tokens

if TYPE_CHECKING:
    from u2a.api import Model, evaluate, load, train
    from u2a.predict import Prediction

__version__ = version("u2a")
__all__ = [
    "Logger",
    "LoggerSpec",
    "MetricSpec",
    "ModalityOptions",
    "ModalitySpec",
    "Model",
    "Prediction",
    "Tokens",
    "evaluate",
    "hookimpl",
    "load",
    "train",
]
_LAZY = {"Model": "u2a.api", "Prediction": "u2a.predict"} | dict.fromkeys(
    ("evaluate", "load", "train"), "u2a.api"
)


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that plugins and ``u2a --help`` stay quick."""
    if name not in _LAZY:
        raise AttributeError(f"module 'u2a' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
