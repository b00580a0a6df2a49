"""u2a: adapts pretrained unimodal transformers to multimodal tasks and copes with missing modalities."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from u2a.contract.engines import Engine, EngineSpec, Race
    from u2a.contract.extensions import CommandSpec, Logger, LoggerSpec, MetricSpec
    from u2a.contract.hookspecs import hookimpl
    from u2a.contract.modality import (
        Description,
        Example,
        Inputs,
        ModalityOptions,
        ModalitySpec,
        Preprocessor,
        Tokens,
    )
    from u2a.encoders.architectures import Architecture
    from u2a.encoders.collate import PaddingCollate
    from u2a.encoders.files import PretrainedOptions, checkpoint_file
    from u2a.encoders.network import network_modality
    from u2a.encoders.pretrained import transformers_modality
    from u2a.errors import BadSample, U2AError
    from u2a.evaluation.commands import evaluate
    from u2a.evaluation.predict import Prediction
    from u2a.evaluation.trained import Model, load
    from u2a.starting.frame import pack
    from u2a.training.estimator import Classifier
    from u2a.training.start import train

__version__: str
__all__ = [
    "Architecture",
    "BadSample",
    "Classifier",
    "CommandSpec",
    "Description",
    "Engine",
    "EngineSpec",
    "Example",
    "Inputs",
    "Logger",
    "LoggerSpec",
    "MetricSpec",
    "ModalityOptions",
    "ModalitySpec",
    "Model",
    "PaddingCollate",
    "Prediction",
    "Preprocessor",
    "PretrainedOptions",
    "Race",
    "Tokens",
    "U2AError",
    "checkpoint_file",
    "evaluate",
    "hookimpl",
    "load",
    "network_modality",
    "pack",
    "train",
    "transformers_modality",
]
_LAZY = {
    **dict.fromkeys(("CommandSpec", "Logger", "LoggerSpec", "MetricSpec"), "u2a.contract.extensions"),
    **dict.fromkeys(("Engine", "EngineSpec", "Race"), "u2a.contract.engines"),
    **dict.fromkeys(
        ("Description", "Example", "Inputs", "ModalityOptions", "ModalitySpec", "Preprocessor", "Tokens"),
        "u2a.contract.modality",
    ),
    **dict.fromkeys(("BadSample", "U2AError"), "u2a.errors"),
    "Classifier": "u2a.training.estimator",
    "Architecture": "u2a.encoders.architectures",
    "PaddingCollate": "u2a.encoders.collate",
    **dict.fromkeys(("PretrainedOptions", "checkpoint_file"), "u2a.encoders.files"),
    "network_modality": "u2a.encoders.network",
    "transformers_modality": "u2a.encoders.pretrained",
    "hookimpl": "u2a.contract.hookspecs",
    "Model": "u2a.evaluation.trained",
    "Prediction": "u2a.evaluation.predict",
    "evaluate": "u2a.evaluation.commands",
    "load": "u2a.evaluation.trained",
    "pack": "u2a.starting.frame",
    "train": "u2a.training.start",
}


def __getattr__(name: str) -> Any:
    """Import on first use: ``u2a --help`` is quick, and the command line can prepare for bad packages."""
    if name == "__version__":
        from importlib.metadata import version

        return version("u2a")
    if name not in _LAZY:
        raise AttributeError(f"module 'u2a' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
