"""LoRA through peft, on exactly the projections that a plugin names, under canonical names.

peft accepts target lists that match too much or too little without a word; here every target is a full
module name, and the result is compared with what was asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.nn.functional import linear

from u2a.errors import PluginError

PROJECTIONS = ("q", "k", "v", "o")


def share_frozen(backbone: nn.Module) -> nn.Module:
    """A copy of the module tree that holds the very same parameters and buffers (before adapters exist)."""
    tensors = [*backbone.parameters(), *backbone.buffers()]
    return copy.deepcopy(backbone, {id(tensor): tensor for tensor in tensors})


def inject_lora(
    backbone: nn.Module, targets: list[list[str]], *, rank: int, alpha: float, dropout: float
) -> None:
    """Freeze the backbone and adapt the named projections in place (paper eq. 3).

    Args:
        targets: full names of ``nn.Linear`` modules, one list of four a block: query, key, value, output.

    Raises:
        PluginError: a block without four targets, a name that is no ``nn.Linear``, or a name given twice.
    """
    names = _checked(backbone, targets)
    backbone.requires_grad_(False)
    meta = any(p.is_meta for p in backbone.parameters())
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # a float scales as well as an int
        lora_dropout=dropout,
        target_modules=names,
        bias="none",
    )
    inject_adapter_in_model(config, backbone, low_cpu_mem_usage=meta)
    adapted = {name for name, module in backbone.named_modules() if isinstance(module, LoraLinear)}
    if adapted != set(names):
        raise PluginError(f"LoRA reached {len(adapted)} projections instead of the {len(names)} named ones")
    for _, parameter in lora_parameters(backbone, targets):
        parameter.data = parameter.data.float()  # learnable tensors stay in float32 over a bfloat16 base


def lora_parameters(
    backbone: nn.Module, targets: list[list[str]], first: int = 0
) -> Iterator[tuple[str, nn.Parameter]]:
    """Learnable LoRA tensors as ``blocks.03.q.lora_A``: names that no library version changes.

    Args:
        first: the number of the block that `targets` begin with.
    """
    for b, block in enumerate(targets, first):
        for letter, name in zip(PROJECTIONS, block, strict=True):
            layer = backbone.get_submodule(name)
            assert isinstance(layer, LoraLinear)
            for half, tensors in (("lora_A", layer.lora_A), ("lora_B", layer.lora_B)):
                yield f"blocks.{b:02d}.{letter}.{half}", cast(nn.Parameter, tensors["default"].weight)


def merge_lora(backbone: nn.Module, targets: list[list[str]]) -> Callable[[], None]:
    """Put the adapters into the weights that they add to (W + alpha / rank B A), for passes without gradients.

    Merged weights stand beside the frozen ones, which several branches may share and which stay as they are. In
    bfloat16 a small update would be lost to rounding; such projections keep their adapters.

    Returns:
        What undoes it.
    """
    merged: list[LoraLinear] = []
    for name in (name for block in targets for name in block):
        layer = backbone.get_submodule(name)
        assert isinstance(layer, LoraLinear)
        base = cast(nn.Linear, layer.get_base_layer())
        if base.weight.dtype in (torch.float32, torch.float64):
            with torch.no_grad():
                weight = base.weight + layer.get_delta_weight("default")
            layer.forward = partial(linear, weight=weight, bias=base.bias)  # type: ignore[method-assign]
            merged.append(layer)

    def restore() -> None:
        for layer in merged:
            del layer.forward

    return restore


def _checked(backbone: nn.Module, targets: list[list[str]]) -> list[str]:
    modules = dict(backbone.named_modules())
    if not targets or any(len(block) != len(PROJECTIONS) for block in targets):
        sizes = sorted({len(block) for block in targets})
        raise PluginError(
            f"lora_targets must name 4 projections a block (q, k, v, o); it named {sizes or 'none'}"
        )
    names = [name for block in targets for name in block]
    for name in names:
        if type(modules.get(name)) is not nn.Linear:
            raise PluginError(f"lora_targets names {name!r}, which is no nn.Linear of the backbone")
    if len(set(names)) != len(names):
        raise PluginError("lora_targets names a projection twice")
    return names
