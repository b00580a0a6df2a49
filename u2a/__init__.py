"""u2a: adapts pretrained unimodal transformers to multimodal tasks and copes with missing modalities."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from u2a.api import Model, evaluate, load, train
    from u2a.extensions import Logger, LoggerSpec, MetricSpec
    from u2a.hookspecs import hookimpl
    from u2a.modality import ModalityOptions, ModalitySpec, Tokens
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
_LAZY = {
    **dict.fromkeys(("Model", "evaluate", "load", "train"), "u2a.api"),
    **dict.fromkeys(("Logger", "LoggerSpec", "MetricSpec"), "u2a.extensions"),
    **dict.fromkeys(("ModalityOptions", "ModalitySpec", "Tokens"), "u2a.modality"),
    "Prediction": "u2a.predict",
    "hookimpl": "u2a.hookspecs",
}


def __getattr__(name: str) -> Any:
    """Import on first use: ``u2a --help`` is quick, and the command line can prepare for bad packages."""
    if name not in _LAZY:
        raise AttributeError(f"module 'u2a' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
