"""A branch's adapters as a folder of PEFT's own, for programs that know nothing of u2a, and back from one.

``adapter_config.json`` and ``adapter_model.safetensors`` are what ``peft.PeftModel.from_pretrained`` reads onto
the bare encoder. What PEFT has no place for (mask tokens, projection, which base weights) lies beside them in
``u2a.safetensors`` and ``u2a.json``; folders that were made elsewhere have neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import save_file
from torch import Tensor, nn

from u2a.common.files import write_json
from u2a.encoders.structure import FusedProjections
from u2a.errors import U2AError
from u2a.method.branch import UnimodalBranch

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
OWN, OWN_WEIGHTS = "u2a.json", "u2a.safetensors"
PREFIX = "base_model.model."

#: A ``[r, in]`` and B ``[out, r]``, the scale included in B.
Pair = tuple[Tensor, Tensor]


def save_peft(branch: UnimodalBranch, folder: Path) -> None:
    """Write a branch's adapters as a PEFT adapter folder; one that is there is replaced file by file.

    Raises:
        U2AError: the branch has no adapters, or the folder cannot be written.
    """
    layers = adapted_layers(branch)
    # Before the adapters, PEFT's layer is the encoder's own; a layer that u2a has split is joined again.
    pairs = _joined(branch.backbone, {name: _pair(layer) for name, layer in layers.items()})
    prefix = _part(branch.backbone)
    named = {prefix + name: pair for name, pair in pairs.items()}
    ranks = {name: len(A) for name, (A, _) in named.items()}
    rank = min(ranks.values())
    other = {name: r for name, r in ranks.items() if r != rank}
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,  # the scale is in B: any program reads it right
        rank_pattern=other,
        alpha_pattern=dict(other),
        target_modules=sorted(named),
        lora_dropout=float(getattr(next(iter(layers.values())).lora_dropout["default"], "p", 0.0)),
        bias="none",
        inference_mode=True,
        base_model_name_or_path=branch.base.get("id"),
        revision=branch.base.get("revision"),
    )
    tensors = {}
    for name, (A, B) in named.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = A.contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = B.contiguous()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(str(folder))
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        save_file(own_tensors(branch), folder / OWN_WEIGHTS)
        write_json(folder / OWN, {"kind": branch.spec.name, "base": branch.base})
    except OSError as error:
        raise U2AError(f"{folder}: cannot be written: {error.strerror or error}") from None


def adapted_layers(branch: UnimodalBranch) -> dict[str, LoraLinear]:
    names = [name for block in branch.targets for name in block]
    if not names:
        raise U2AError(f'{branch.name}: has no adapters (tune = "{branch.spec.tune}")')
    return {name: cast(LoraLinear, branch.backbone.get_submodule(name)) for name in names}


def half_weight(halves: Any) -> Tensor:
    return cast(Tensor, halves["default"].weight)


def _pair(layer: LoraLinear) -> Pair:
    A, B = (half_weight(half).detach().cpu().clone() for half in (layer.lora_A, layer.lora_B))
    return A, B * layer.scaling["default"]


def own_tensors(branch: UnimodalBranch) -> dict[str, Tensor]:
    mine = {name: p for name, p in branch.learnable() if not name.startswith("blocks.")}
    return {name: p.detach().cpu().clone() for name, p in mine.items()}


def _part(backbone: nn.Module) -> str:
    """Where the encoder is in its class: nowhere, but in T5's, which is its stack."""
    known: Any = getattr(backbone, "u2a_architecture", None)
    return f"{known.part}." if known is not None and known.part else ""


def whole_layer(backbone: nn.Module, name: str) -> str | None:
    """The one layer that a projection was cut from (see `FusedProjections`); None if it was always alone."""
    parent = name.rpartition(".")[0]
    return parent if parent and isinstance(backbone.get_submodule(parent), FusedProjections) else None


PARTS = ("query", "key", "value")


def _joined(backbone: nn.Module, pairs: dict[str, Pair]) -> dict[str, Pair]:
    made: dict[str, Pair] = {}
    for name, pair in pairs.items():
        whole = whole_layer(backbone, name)
        if whole is None:
            made[name] = pair
        elif whole not in made:
            three = [pairs[f"{whole}.{part}"] for part in PARTS]
            made[whole] = torch.cat([A for A, _ in three]), torch.block_diag(*(B for _, B in three))
    return made
