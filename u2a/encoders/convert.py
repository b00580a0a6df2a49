"""One-time conversion of weights that only pickle reads (``pytorch_model.bin``, a ``.ckpt``) to safetensors.

The tensors are read with ``torch.load(weights_only=True)``, which runs no code from the file; nothing
about them is changed, not even their type. From then on training and evaluation read the new folder.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from u2a.common.files import follow_umask
from u2a.encoders.files import PretrainedOptions, is_local, local_folder, read_json
from u2a.encoders.hub import fetch
from u2a.encoders.layouts import pickles
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
        source: a folder, a file in one, or a hub id.
        out: the new folder; it must not exist.
        revision: the hub id's branch, tag or commit.

    Returns:
        ``out``.

    Raises:
        U2AError: ``out`` exists, the source cannot be read, or its file is not a plain dict of tensors.
    """
    if out.exists():
        raise U2AError(f"{out} exists already: name a new folder")
    here = Path(source).expanduser().absolute()
    if here.is_file():
        return _convert(here.parent, _read_file(here), out)
    known = str(here) if here.is_dir() else source
    try:
        options = PretrainedOptions(kind="convert", encoder=known, revision=revision)
    except ValidationError as error:
        raise U2AError(f"{source}: {error.errors()[0]['msg']}") from None
    folder = local_folder(options) if is_local(options) else fetch(options, (*COMPANIONS, WEIGHTS, PARTS))
    return _convert(folder, _read_tensors(folder), out)


def _convert(folder: Path, tensors: dict[str, Tensor], out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as unfinished:
        _write(folder, tensors, Path(unfinished) / "new")
        (Path(unfinished) / "new").rename(out)
    return out


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    if (folder / WEIGHTS).is_file():
        return _read_file(folder / WEIGHTS)
    if not (folder / INDEX).is_file():
        return _read_file(_only(folder))
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


def _only(folder: Path) -> Path:
    """The one file of weights in a folder that is laid out in no way of transformers'."""
    found = pickles(folder)
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:4])
        raise U2AError(f"{folder} has several files of weights ({names}): name one of them")
    if not found:
        raise U2AError(f"{folder} has no {WEIGHTS} and no other file of weights: nothing to convert")
    return found[0]


def _read_file(path: Path) -> dict[str, Tensor]:
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise U2AError(
            f"{path} cannot be read safely: it is damaged, or holds objects that only code of its own can "
            "build; save the model's state_dict() alone"
        ) from None
    except Exception as error:  # reading fails in many ways
        raise U2AError(f"{path} cannot be read safely: {one_line(error, 200)}") from None
    return _plain(state, path)


def _plain(state: Any, path: Path) -> dict[str, Tensor]:
    """Each tensor with storage of its own: safetensors refuses tensors that share theirs (tied weights)."""
    found = dict(_networks(state))
    if len(found) > 1:
        found = {name: one for name, one in found.items() if name in ("state_dict", "model")} or found
    if not found:
        raise U2AError(f"{path} is not a plain dict of tensors, nor holds one")
    if len(found) > 1:
        names = ", ".join(sorted(found))
        raise U2AError(f"{path} holds several networks ({names}): save the state_dict() of one of them alone")
    [tensors] = found.values()
    return {str(name): tensor.clone().contiguous() for name, tensor in tensors.items()}


def _networks(state: Any, name: str = "", depth: int = 3) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """A state dict, or those that a training keeps beside its other values, by their keys."""
    import torch

    if not isinstance(state, Mapping) or not state or not depth:
        return
    if all(isinstance(value, torch.Tensor) for value in state.values()):
        yield name, state
        return
    for key, value in state.items():
        yield from _networks(value, f"{name}.{key}".lstrip("."), depth - 1)


def _write(folder: Path, tensors: dict[str, Tensor], out: Path) -> None:
    from safetensors.torch import save_file

    out.mkdir()
    for pattern in COMPANIONS if (folder / "config.json").is_file() else ():
        for path in folder.glob(pattern):
            if not path.name.startswith(WEIGHTS) and path.is_file():
                shutil.copyfile(path, out / path.name)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    follow_umask(out / "model.safetensors")
