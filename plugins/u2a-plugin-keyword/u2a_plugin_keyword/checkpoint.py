"""A Keyword Transformer's folder: ``config.json`` and ``model.safetensors``, which also holds the front end."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from u2a.errors import CheckpointError, U2AError
from u2a_plugin_keyword.config import Config

if TYPE_CHECKING:
    from torch import Tensor

    from u2a_plugin_keyword.network import KeywordTransformer

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FRONT_END = "fe."


def read_config(folder: str) -> Config:
    """Read ``config.json``.

    Raises:
        U2AError: it is absent or lacks an entry.
    """
    path = Path(folder) / CONFIG
    try:
        return Config.model_validate_json(path.read_bytes())
    except OSError as error:
        raise U2AError(
            f"{path}: {error.strerror}; encoder must be a folder with {CONFIG} and {WEIGHTS}"
        ) from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise U2AError(f"{path}: {'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}") from None


def read_tensors(folder: str, *, front_end: bool) -> dict[str, Tensor]:
    """The tensors of the front end (without their prefix), or all others.

    Raises:
        CheckpointError: the file is absent or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / WEIGHTS
    try:
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(FRONT_END) == front_end]  # noqa: SIM118
            return {name.removeprefix(FRONT_END): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None


def load(folder: str, *, weights: bool) -> KeywordTransformer:
    """The transformer; with weights in float32 and its identity in ``u2a_base``.

    Raises:
        U2AError: config.json cannot be used.
        CheckpointError: the weights are absent, damaged or of another shape.
    """
    from u2a_plugin_keyword.network import KeywordTransformer

    module: Any = KeywordTransformer(read_config(folder))
    if weights:
        tensors = read_tensors(folder, front_end=False)
        # The classifier of the original's keywords stays behind.
        tensors = {name: tensor.float() for name, tensor in tensors.items() if not name.startswith("head.")}
        try:
            module.load_state_dict(tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{Path(folder) / WEIGHTS}: does not fit {CONFIG}: {reason}") from None
        with (Path(folder) / WEIGHTS).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        module.u2a_base = {"id": folder, "revision": None, "sha256": digest}
    return module
