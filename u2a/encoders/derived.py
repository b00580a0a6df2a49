"""What a transformers class shows by itself: its class token, its final norm, what its blocks return.

So a plugin names a class, and nothing about its inside (`u2a.transformers_modality`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from u2a.encoders.architectures import Architecture
from u2a.encoders.blocks import block_list
from u2a.encoders.structure import first_half
from u2a.errors import PluginError

#: Learned tokens that stand before the others, in this order.
_CLASS_TOKENS = ("cls_token", "class_embedding", "distillation_token")
_LOCK = threading.Lock()


def class_positions(backbone: nn.Module) -> tuple[int, ...] | None:
    """Where a backbone's class tokens stand; None if it has none, so that the tokens' mean takes their place.

    Encoders of pictures and sounds learn such a token as a parameter; those of words read it from the text.
    """
    names = {name.rpartition(".")[2] for name, _ in backbone.named_parameters()}
    count = sum(name in names for name in _CLASS_TOKENS)
    if not count and getattr(backbone, "main_input_name", "") == "input_ids":
        count = 1
    return tuple(range(count)) or None


def found_by_running(backbone: Any, inputs: Mapping[str, Any]) -> Architecture:
    """What is known of a backbone, with its final norm and the values that its blocks return.

    Found once, by its own forward pass on inputs of its own, with the blocks standing aside.

    Raises:
        PluginError: its blocks do not hand hidden states to each other.
    """
    with _LOCK:
        if not backbone.u2a_found:
            backbone.u2a_architecture = _try(backbone, inputs)
            backbone.u2a_found = True
        return backbone.u2a_architecture


def _try(backbone: Any, inputs: Mapping[str, Any]) -> Architecture:
    first: Exception | None = None
    for tuples in range(4):  # hidden states alone, or so many values with them in front
        known = replace(backbone.u2a_architecture, tuples=tuples)
        try:
            with _still(inputs), _watched(backbone) as seen:
                first_half(backbone, known, inputs)
        except Exception as error:  # of code that did not expect what such blocks return
            first = first or error
            continue
        if seen.same:
            return replace(known, norm=seen.norm)
    if first is not None:
        raise first
    raise PluginError(
        f"{type(backbone).__name__}: its blocks do not hand hidden states on, so it cannot be adapted"
    )


@contextmanager
def _still(inputs: Mapping[str, Any]) -> Iterator[None]:
    """No gradients; the random numbers that dropout draws are given back."""
    devices = {one.device for one in inputs.values() if isinstance(one, Tensor) and one.is_cuda}
    with torch.no_grad(), torch.random.fork_rng(devices=list(devices)):
        yield


@dataclass
class _Seen:
    """Whether every block got the first one's hidden states, and the first norm that ran after the last."""

    blocks: int
    hidden: list[Any] = field(default_factory=list)
    norm: str = ""

    @property
    def same(self) -> bool:
        return len(self.hidden) == self.blocks and all(one is self.hidden[0] for one in self.hidden)


@contextmanager
def _watched(backbone: Any) -> Iterator[_Seen]:
    blocks = block_list(backbone)
    seen, inside = _Seen(len(blocks)), set(map(id, blocks.modules()))
    handles = [
        block.register_forward_pre_hook(lambda _, args: seen.hidden.append(args[0] if args else None))
        for block in blocks
    ]

    def after(name: str) -> Any:
        def note(*_: Any) -> None:
            if len(seen.hidden) == seen.blocks and not seen.norm:
                seen.norm = name

        return note

    for name, module in backbone.named_modules():
        if "norm" in type(module).__name__.lower() and id(module) not in inside:
            handles.append(module.register_forward_hook(after(name)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
