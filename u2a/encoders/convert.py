"""One-time conversion of a checkpoint that has only ``pytorch_model.bin`` (or its parts) to safetensors.

The tensors are read with ``torch.load(weights_only=True)``, which runs no code from the file; nothing
about them is changed, not even their type. From then on training and evaluation read the new folder.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from u2a.common.files import follow_umask
from u2a.encoders.files import PretrainedOptions, is_local, local_folder, read_json
from u2a.encoders.hub import fetch
from u2a.errors import U2AError, one_line

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"
PARTS = "pytorch_model-*.bin"
#: Small files that a checkpoint's model, preprocessor and tokenizer may need.
COMPANIONS = ("*.json", "vocab.txt", "merges.txt", "*.model")


def convert_checkpoint(source: str, out: Path, revision: str | None = None) -> Path:
    """Write ``out/model.safetensors`` and the small files beside it.

    Args:
        source: a folder, or a hub id.
        out: the new folder; it must not exist.
        revision: the hub id's branch, tag or commit.

    Returns:
        ``out``.

    Raises:
        U2AError: ``out`` exists, the source cannot be read, or its file is not a plain dict of tensors.
    """
    if out.exists():
        raise U2AError(f"{out} exists already: name a new folder")
    known = str(Path(source).absolute()) if Path(source).is_dir() else source
    try:
        options = PretrainedOptions(kind="convert", encoder=known, revision=revision)
    except ValidationError as error:
        raise U2AError(f"{source}: {error.errors()[0]['msg']}") from None
    folder = local_folder(options) if is_local(options) else fetch(options, (*COMPANIONS, WEIGHTS, PARTS))
    tensors = _read_tensors(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as unfinished:
        _write(folder, tensors, Path(unfinished) / "new")
        (Path(unfinished) / "new").rename(out)
    return out


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    if (folder / WEIGHTS).is_file():
        return _read_file(folder / WEIGHTS)
    if not (folder / INDEX).is_file():
        raise U2AError(f"{folder} has no {WEIGHTS}: nothing to convert")
    wanted = read_json(folder, INDEX).get("weight_map")
    if not isinstance(wanted, dict) or not all(isinstance(name, str) for name in wanted.values()):
        raise U2AError(f"{folder / INDEX} has no weight_map from tensors to files")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(wanted.values())):
        if Path(name).name != name or not (folder / name).is_file():
            raise U2AError(f"{folder / INDEX} names {name}, which is not in the folder: download it again")
        tensors |= _read_file(folder / name)
    if absent := sorted(set(wanted) - set(tensors)):
        raise U2AError(
            f"{folder / INDEX} names {absent[0]}, which is in none of its files: download them again"
        )
    return tensors


def _read_file(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling fails in many ways
        raise U2AError(f"{path} cannot be read safely: {one_line(error, 200)}") from None
    return _plain(state, path)


def _plain(state: Any, path: Path) -> dict[str, Tensor]:
    """Each tensor with storage of its own: safetensors refuses tensors that share theirs (tied weights)."""
    import torch

    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise U2AError(f"{path} is not a plain dict of tensors")
    return {str(name): tensor.clone().contiguous() for name, tensor in state.items()}


def _write(folder: Path, tensors: dict[str, Tensor], out: Path) -> None:
    from safetensors.torch import save_file

    out.mkdir()
    for pattern in COMPANIONS:
        for path in folder.glob(pattern):
            if not path.name.startswith(WEIGHTS):
                shutil.copyfile(path, out / path.name)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    follow_umask(out / "model.safetensors")
