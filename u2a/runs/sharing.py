"""Backbones of one pretrained checkpoint are one frozen copy in memory, however many modalities use it.

What decides is the identity of the base weights and every tensor itself, never a name that an author gave: two
checkpoints can not become one, and plugins have nothing to write for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from u2a.contract.modality import ModalityOptions, ModalitySpec


class FrozenCopies:
    """The checkpoints of one model so far: what tells each, and its tensors by name as they were read."""

    def __init__(self) -> None:
        self.known: list[tuple[object, dict[str, Tensor]]] = []

    def tie(self, backbone: nn.Module, identity: object) -> None:
        """Let a backbone hold those tensors of an earlier one of the same identity that equal its own.

        Both keep their own modules and configuration. To be called before adapters are injected.
        """
        earlier = next((tensors for known, tensors in self.known if known == identity), None)
        if earlier is None:
            self.known.append((identity, {name: held[key] for name, held, key in _tensors(backbone)}))
            return
        for name, held, key in _tensors(backbone):
            if name in earlier and _equal(held[key], earlier[name]):
                held[key] = earlier[name]


def identity_of(spec: ModalitySpec, options: ModalityOptions, base: dict[str, Any]) -> object:
    """What tells one checkpoint from another: its weights' hash; where none are read, the options' words."""
    if "sha256" in base:
        return base["sha256"]
    named = getattr(options, "encoder", None)
    if isinstance(named, str):
        return named, getattr(options, "revision", None)
    return spec.backbone, repr(options.model_dump(exclude={"kind", "tune"}))


def _tensors(backbone: nn.Module) -> list[tuple[str, dict[str, Any], str]]:
    """Parameters and buffers: a name for each, the dictionary that holds it, and its key there."""
    return [
        (f"{kind} {prefix}.{key}", held, key)
        for prefix, module in backbone.named_modules(remove_duplicate=False)
        for kind, held in (("parameter", module._parameters), ("buffer", module._buffers))
        for key, tensor in held.items()
        if tensor is not None
    ]


def _equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a is b or (a.is_meta and b.is_meta) or torch.equal(a, b)
