"""Adapter checkpoints: LoRA, mask tokens, projections and head, with the identity of what they adapt.

A checkpoint is a folder of safetensors and JSON (never pickle) with a manifest of checksums. It is written
aside and renamed, so that whatever has a manifest is whole; the files ``LAST`` and ``BEST`` of a run name
the current ones. About 1 MB: the frozen weights are never in it.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from u2a.common.files import follow_umask, put_folder, sha256_file, sync_file, write_json, write_text
from u2a.encoders.identity import difference
from u2a.errors import CheckpointError
from u2a.method.branch import UnimodalBranch
from u2a.method.model import U2A

FORMAT = 3  # 1: read-outs were not of one length; 2: the head's weights were in the order of the alphabet
ATTEMPTS = 20  # to read a checkpoint that is replaced meanwhile
FILES = ("adapter.json", "adapter.safetensors")  # those of the hub have no optimizer.safetensors


def learnable(model: U2A) -> Iterator[tuple[str, nn.Parameter]]:
    """Every learnable tensor under its checkpoint name, in recipe order, the head last."""
    for branch in model.each_branch():
        yield from ((f"{branch.name}.{name}", parameter) for name, parameter in branch.learnable())
    if model.read_outs is not None:
        yield from ((f"read_outs.{name}", p) for name, p in model.read_outs.named_parameters())
    yield from ((f"head.{name}", parameter) for name, parameter in model.head.named_parameters())


def adapter_state(model: U2A) -> dict[str, Tensor]:
    """What an adapter checkpoint stores: learnable tensors, statistics, buffers of encoders trained whole."""
    state: dict[str, Tensor] = {name: parameter.detach() for name, parameter in learnable(model)}
    if model.read_outs is not None:
        state |= {f"read_outs.{name}": buffer for name, buffer in model.read_outs.named_buffers()}
        state |= {f"head.{name}": buffer for name, buffer in model.head.named_buffers()}
    for branch in model.each_branch():
        if branch.spec.tune == "full":
            buffers = branch.backbone.named_buffers()
            state |= {f"{branch.name}.buffer.{name}": buffer for name, buffer in buffers}
    return state


def save_checkpoint(
    root: Path, step: int, model: U2A, optimizer: Optimizer, meta: dict[str, Any], *, best: bool, **more: Tensor
) -> Path:
    """Write ``root/step-<step>`` and make it LAST (and BEST); drop what neither names any more.

    Args:
        meta: plain JSON values stored in ``adapter.json`` beside the tensors.
        more: what the training needs to go on, besides the optimizer's state.

    Raises:
        CheckpointError: it cannot be written; the ones before are as they were.
    """
    final = root / f"step-{step:08d}"
    tensors = {"adapter": adapter_state(model), "optimizer": optimizer_state(model, optimizer)}
    try:
        root.mkdir(parents=True, exist_ok=True)
        _replace(final, {**tensors, "training": more}, {"format": FORMAT, "step": step, **meta})
        for pointer in ("BEST", "LAST") if best else ("LAST",):  # LAST says what the best one was: it goes last
            write_text(root / pointer, final.name + "\n")
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{final}: the checkpoint cannot be written: {reason}") from error
    _prune(root)
    return final


def _replace(final: Path, tensors: dict[str, dict[str, Tensor]], meta: dict[str, Any]) -> None:
    temporary = final.with_name(f".writing-{secrets.token_hex(4)}")
    temporary.mkdir()  # as the umask has it; tempfile's are the owner's alone
    try:
        _write(temporary, tensors, meta)
        put_folder(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write(folder: Path, tensors: dict[str, dict[str, Tensor]], meta: dict[str, Any]) -> None:
    for name, state in tensors.items():
        save_file(_plain(state), folder / f"{name}.safetensors")
    write_json(folder / "adapter.json", meta)
    checksums = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    for path in folder.iterdir():
        follow_umask(path)  # safetensors' files are their owner's alone
        sync_file(path)
    write_json(folder / "manifest.json", {"format": FORMAT, "files": checksums})


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def optimizer_state(model: U2A, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors as ``<entry>/<parameter name>``; parameters without state have no entry."""
    return {
        f"{entry}/{name}": value
        for name, parameter in learnable(model)
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(folder: Path, model: U2A, optimizer: Optimizer) -> dict[str, Tensor]:
    """Put a checkpoint's optimizer tensors back; returns what else the training needs."""
    if not (folder / "optimizer.safetensors").is_file():
        raise CheckpointError(f"{folder}: holds no optimizer: it was published for use, not to train on")
    parameters = dict(learnable(model))
    for key, tensor in load_file(folder / "optimizer.safetensors").items():
        entry, name = key.split("/", 1)
        parameter = parameters[name]
        device = "cpu" if entry == "step" else parameter.device
        optimizer.state[parameter][entry] = tensor.to(device)
    more = folder / "training.safetensors"  # which older checkpoints do not have
    return load_file(more) if more.is_file() else {}


def current(root: Path, pointer: str) -> Path:
    """The folder that ``LAST`` or ``BEST`` names.

    Raises:
        CheckpointError: there is none yet.
    """
    try:
        name = (root / pointer).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise CheckpointError(f"{root}: no {pointer} checkpoint; the training has not saved one yet") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{root / pointer}: cannot be read: {error}") from None
    folder = root / name
    if not re.fullmatch(r"step-\d+(-[0-9a-f]{8})?", name) or not folder.is_dir():
        raise CheckpointError(f"{root / pointer}: names {name!r}, which is not there")
    return folder


def verify(folder: Path) -> dict[str, Any]:
    """Check every file against the manifest; returns ``adapter.json``.

    Raises:
        CheckpointError: a file is missing or its checksum differs, or it is of another format.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{folder}: format {manifest['format']}; this u2a reads format {FORMAT}")
        for name in {**dict.fromkeys(FILES), **manifest["files"]}:
            if sha256_file(folder / Path(name).name) != manifest["files"][name]:
                raise CheckpointError(f"{folder / name}: checksum mismatch; the file was changed or damaged")
        return json.loads((folder / "adapter.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: not a complete adapter checkpoint: {error}") from None


def load_adapter(folder: Path, model: U2A) -> dict[str, Any]:
    """Verify a checkpoint, check the base weights' identity, and load it into the model.

    Returns:
        The checkpoint's ``adapter.json``.

    Raises:
        CheckpointError: damaged, made for other base weights, or with other tensors than the model's.
    """
    meta = verify(folder)
    if tuple(meta["modalities"]) != model.names:
        held, wanted_names = ", ".join(meta["modalities"]), ", ".join(model.names)
        raise CheckpointError(f"{folder}: was trained on {held}, but the recipe has {wanted_names}")
    for branch in model.each_branch():
        _check_base(folder, branch, meta["modalities"][branch.name]["base"])
    try:
        stored, wanted = load_file(folder / "adapter.safetensors"), adapter_state(model)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: not a complete adapter checkpoint: {error}") from None
    if odd := sorted(set(stored) ^ set(wanted)):
        where = "lacks" if odd[0] in wanted else "has an unknown tensor"
        raise CheckpointError(f"{folder}: {where} {odd[0]!r}; the recipe or plugin has changed since")
    with torch.no_grad():
        for name, tensor in wanted.items():
            if tensor.shape != stored[name].shape:
                raise CheckpointError(
                    f"{folder}: {name!r} is {tuple(stored[name].shape)}, the model's {tuple(tensor.shape)}"
                )
            tensor.copy_(stored[name])
    return meta


def load_current(root: Path, pointer: str, model: U2A) -> tuple[Path, dict[str, Any]]:
    """`load_adapter` on what ``LAST`` or ``BEST`` names, also while a training goes on replacing it.

    Raises:
        CheckpointError: as `load_adapter`, for a checkpoint that is still the current one.
    """
    last: CheckpointError | None = None
    for attempt in range(ATTEMPTS):
        try:
            folder = current(root, pointer)
            return folder, load_adapter(folder, model)
        except CheckpointError as error:
            if str(error) == str(last):  # the same checkpoint is at fault again: it was not on its way out
                raise
            last = error
            time.sleep(0.05 * (attempt > 0))
    assert last is not None
    raise last


def describe_modalities(model: U2A) -> dict[str, Any]:
    """What a checkpoint says of each modality: whose plugin it needs, and which base weights."""
    return {
        branch.name: {
            "kind": branch.spec.name,
            "distribution": branch.owner.distribution,
            "version": branch.owner.version,
            "base": branch.base,
        }
        for branch in model.each_branch()
    }


def _check_base(folder: Path, branch: UnimodalBranch, saved: dict[str, Any]) -> None:
    part = difference(saved, branch.base)
    if part == "weights":
        raise CheckpointError(
            f"{folder}: modality {branch.name!r} was trained on base weights {saved.get('id')} "
            f"(revision {saved.get('revision')}, sha256 {str(saved.get('sha256'))[:12]}), but "
            f"{branch.base.get('id')} has sha256 {str(branch.base.get('sha256'))[:12]}; use the same weights"
        )
    if part:
        raise CheckpointError(
            f"{folder}: modality {branch.name!r} was trained with another {part} of {saved.get('id')} than "
            f"{branch.base.get('id')} has now; bring the file back as it was, or train anew"
        )


def _prune(root: Path) -> None:
    keep = {(root / p).read_text(encoding="utf-8").strip() for p in ("LAST", "BEST") if (root / p).exists()}
    for folder in root.iterdir():
        if folder.is_dir() and folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)
