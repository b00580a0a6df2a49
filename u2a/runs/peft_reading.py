"""PEFT adapter folders onto a branch's encoder: of `u2a.runs.peft_folders`, or any program's plain LoRA."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from u2a.encoders.identity import difference
from u2a.encoders.structure import FusedProjections
from u2a.errors import CheckpointError
from u2a.method.branch import UnimodalBranch
from u2a.runs.peft_folders import (
    CONFIG,
    OWN,
    OWN_WEIGHTS,
    PARTS,
    PREFIX,
    WEIGHTS,
    Pair,
    adapted_layers,
    half_weight,
    own_tensors,
    whole_layer,
)

#: What changes what an adapter computes, beyond ``(alpha / r) B A x``.
_OTHER = ("use_dora", "fan_in_fan_out", "lora_bias", "modules_to_save", "layer_replication", "use_qalora")


def load_peft(branch: UnimodalBranch, folder: Path) -> None:
    """Put the adapters of a PEFT folder into a branch, and the mask tokens that lie beside them.

    Layers that the folder does not adapt become the encoder's own. An adapter of a lower rank than the branch's
    fits; one made on a model with a head does too, if its encoder's layers are called the same.

    Raises:
        U2AError: no adapters in the branch; the folder adapts what the branch does not, with a higher rank, or
            with more than plain LoRA; it was made on other base weights; it cannot be read.
    """
    layers = adapted_layers(branch)
    config = _read_config(folder)
    _check_base(branch, folder)
    found = _split(branch.backbone, _pairs(folder, config, _wanted(branch.backbone, layers)))
    own = _read(folder / OWN_WEIGHTS) if (folder / OWN_WEIGHTS).exists() else {}
    fitted = {name: _fit(folder, name, layer, found.get(name)) for name, layer in layers.items()}
    mine = own_tensors(branch)
    if {name: t.shape for name, t in own.items()} not in ({}, {name: t.shape for name, t in mine.items()}):
        raise CheckpointError(f"{folder / OWN_WEIGHTS}: other mask tokens than modality {branch.name!r} has")
    with torch.no_grad():
        for name, layer in layers.items():
            A, B = fitted[name]
            half_weight(layer.lora_A).copy_(A)
            half_weight(layer.lora_B).copy_(B / layer.scaling["default"])
        for name, parameter in branch.learnable():
            if name in own:
                parameter.copy_(own[name])


def _split(backbone: nn.Module, pairs: dict[str, Pair]) -> dict[str, Pair]:
    made: dict[str, Pair] = {}
    for name, (A, B) in pairs.items():
        if isinstance(backbone.get_submodule(name), FusedProjections):
            parts = zip(PARTS, B.chunk(3), strict=True)
            made |= {f"{name}.{part}": _needed(A, rows) for part, rows in parts}
        else:
            made[name] = A, B
    return made


def _needed(A: Tensor, B: Tensor) -> Pair:
    used = B.abs().sum(0) > 0
    return A[used], B[:, used]


def _wanted(backbone: nn.Module, layers: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(whole_layer(backbone, name) or name for name in layers))


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind = config["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: not an adapter folder of PEFT: {error}") from None
    if kind != "LORA":
        raise CheckpointError(f"{folder}: is {kind}; u2a's adapters are LORA")
    odd = [key for key in _OTHER if config.get(key)]
    if config.get("bias", "none") != "none":
        odd.append("bias")
    if odd:
        raise CheckpointError(f"{folder / CONFIG}: {odd[0]} is set; u2a's adapters are plain LoRA")
    return config


def _check_base(branch: UnimodalBranch, folder: Path) -> None:
    if not (folder / OWN).exists():  # made elsewhere: nothing says on which weights
        return
    try:
        saved = json.loads((folder / OWN).read_text(encoding="utf-8"))["base"]
        part = difference(saved, branch.base)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder / OWN}: cannot be read: {error}") from None
    if part:
        raise CheckpointError(
            f"{folder}: was made with other {part} than modality {branch.name!r} has "
            f"({saved.get('id')}, sha256 {str(saved.get('sha256'))[:12]})"
        )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        hint = "; save the adapter with safe_serialization=True" if path.with_suffix(".bin").exists() else ""
        raise CheckpointError(f"{path}: cannot be read: {error}{hint}") from None


def _pairs(folder: Path, config: dict[str, Any], wanted: list[str]) -> dict[str, Pair]:
    """A and B by the backbone's own names, the scale included in B."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in _read(folder / WEIGHTS).items():
        path, _, half = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
        if half not in ("lora_A", "lora_B"):
            raise CheckpointError(f"{folder / WEIGHTS}: {key!r} is no part of a plain LoRA adapter")
        halves.setdefault(path, {})[half] = tensor.float()
    found = {}
    for path, one in halves.items():
        name = next((name for name in wanted if path == name or path.endswith(f".{name}")), None)
        if name is None:
            raise CheckpointError(f"{folder}: adapts {path}, and u2a does not (it adapts {wanted[0]}, ...)")
        if len(one) < 2 or one["lora_A"].shape[0] != one["lora_B"].shape[-1]:
            raise CheckpointError(f"{folder / WEIGHTS}: the adapter of {path} is not whole")
        A, B = one["lora_A"], one["lora_B"]
        found[name] = A, B * _scale(folder, config, path, len(A))
    return found


def _scale(folder: Path, config: dict[str, Any], path: str, rank: int) -> float:
    """``alpha / r`` of one layer, as PEFT finds it."""
    alpha = config.get("lora_alpha")
    for pattern, own in (config.get("alpha_pattern") or {}).items():
        if not re.fullmatch(r"[\w.]+", pattern):  # PEFT takes regular expressions; a stranger's are not run
            raise CheckpointError(f"{folder / CONFIG}: alpha_pattern {pattern!r} is not a layer's name")
        if path == pattern or path.endswith(f".{pattern}"):
            alpha = own
    if not isinstance(alpha, int | float):
        raise CheckpointError(f"{folder / CONFIG}: lora_alpha is not a number")
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _fit(folder: Path, name: str, layer: LoraLinear, pair: Pair | None) -> Pair:
    """At the branch's own rank: a lower one is filled with zeros."""
    A, B = (torch.zeros_like(half_weight(half), device="cpu") for half in (layer.lora_A, layer.lora_B))
    if pair is None:
        return A, B
    if pair[0].shape[1] != A.shape[1] or pair[1].shape[0] != B.shape[0]:
        raise CheckpointError(
            f"{folder}: {name} is {pair[1].shape[0]} x {pair[0].shape[1]} there, another encoder"
        )
    rank = len(pair[0])
    if rank > len(A):
        raise CheckpointError(f"{folder}: its rank is {rank}; set model.lora_rank = {rank} in the recipe")
    A[:rank], B[:, :rank] = pair
    return A, B
