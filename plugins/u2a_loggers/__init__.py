"""The loggers that come with u2a, registered as any plugin's; their libraries are extras of u2a."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import u2a

TOOLS = {
    "tensorboard": "event files in the run folder: tensorboard --logdir runs",
    "wandb": "Weights & Biases; offline in the run folder where nobody is logged in",
    "mlflow": "MLflow; runs/mlflow.db unless MLFLOW_TRACKING_URI is set",
    "trackio": "Trackio's local dashboard: trackio show",
}


@u2a.hookimpl
def u2a_register_loggers(register: Callable[[u2a.LoggerSpec], None]) -> None:
    """TensorBoard, Weights & Biases, MLflow and Trackio; ``u2a_loggers.<tool>`` is imported on use."""
    for tool, text in TOOLS.items():
        install = f'pip install "u2a[{tool}]"'
        register(u2a.LoggerSpec(tool, partial(_open, tool), help=text, module=tool, install=install))


def _open(tool: str, folder: Path, recipe: Mapping[str, Any], done: int) -> u2a.Logger:
    logger: u2a.Logger = import_module(f"u2a_loggers.{tool}").open_logger(folder, recipe, done)
    return logger
