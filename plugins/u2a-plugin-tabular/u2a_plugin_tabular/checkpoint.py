"""A pretrained encoder's folder: ``model.safetensors``, and ``config.json`` with its columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.errors import CheckpointError, U2AError
from u2a_plugin_tabular.options import Numbers, TabularOptions

if TYPE_CHECKING:
    from u2a_plugin_tabular.network import TabularTransformer

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_SHAPE = ("columns", "width", "layers", "heads")


def load(options: TabularOptions, *, weights: bool) -> TabularTransformer:
    """The transformer of the options, with the weights of ``encoder`` if that is set and they are wanted.

    Raises:
        U2AError: the folder is not an encoder, or one for other columns or sizes.
        CheckpointError: its weights are damaged.
    """
    module = build(options)
    if weights and options.encoder is not None:
        _check_config(Path(options.encoder), options)
        _read(Path(options.encoder), module)
    return module


def build(options: TabularOptions) -> TabularTransformer:
    """A freshly initialised transformer."""
    from u2a_plugin_tabular.network import TabularTransformer

    columns = options.columns.values()
    sizes = [len(column.values) for column in columns if not isinstance(column, Numbers)]
    n_numbers = len(options.columns) - len(sizes)
    return TabularTransformer(n_numbers, sizes, options.width, options.layers, options.heads, options.dropout)


def save(folder: str | Path, module: TabularTransformer, options: TabularOptions) -> None:
    """Write an encoder that other recipes can start from: set ``encoder`` to this folder."""
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(_config(options), indent=1), encoding="utf-8")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    (folder / WEIGHTS).write_bytes(to_bytes(state))  # not save_file: its files are their owner's alone


def _config(options: TabularOptions) -> dict[str, Any]:
    values = options.model_dump(mode="json")
    # A list, because the order of the columns matters.
    return {**{name: values[name] for name in _SHAPE}, "columns": list(map(list, values["columns"].items()))}


def _check_config(folder: Path, options: TabularOptions) -> None:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise U2AError(f"{folder / CONFIG}: cannot be read: {error}") from None
    wanted = _config(options)
    if wrong := [name for name in _SHAPE if not isinstance(found, dict) or found.get(name) != wanted[name]]:
        raise U2AError(f"encoder {folder}: was made with other {wrong[0]} than this recipe's; make them equal")


def _read(folder: Path, module: TabularTransformer) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        module.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder / WEIGHTS}: cannot be used: {reason}") from None
