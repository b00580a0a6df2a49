"""What a transformers class shows by itself: its class token, its final norm, what its blocks return.

So a plugin names a class, and nothing about its inside (`u2a.transformers_modality`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from u2a.encoders.architectures import Architecture
from u2a.encoders.blocks import block_list
from u2a.encoders.structure import Handed, first_half, second_half
from u2a.errors import PluginError, one_line

#: Learned tokens that stand before the others, in this order.
_CLASS_TOKENS = ("cls_token", "class_embedding", "distillation_token")
#: Encoders of words whose texts begin with a word: the mean of all, or the last, is what their authors read.
_MEAN = ("t5", "mt5", "umt5", "longt5", "switch_transformers", "eurobert")
_END = ("siglip_text_model", "siglip2_text_model")
_LOCK = threading.Lock()


def class_positions(backbone: Any) -> tuple[int, ...] | Literal["end"] | None:
    """Where a backbone's class tokens stand; None if it has none, so that the tokens' mean takes their place.

    Encoders of pictures and sounds learn such a token as a parameter; those of words read it from the text.
    Whether it is the last one, since earlier ones do not see the text, is found by running.
    """
    kind = getattr(backbone.config, "model_type", "")
    if kind in _MEAN or kind in _END:
        return "end" if kind in _END else None
    names = {name.rpartition(".")[2] for name, _ in backbone.named_parameters()}
    count = sum(name in names for name in _CLASS_TOKENS)
    if not count and getattr(backbone, "main_input_name", "") == "input_ids":
        count = 1
    return tuple(range(count)) or None


def found_by_running(backbone: Any, inputs: Mapping[str, Any]) -> Architecture:
    """What is known of a backbone, with its class token, its final norm and the values that its blocks return.

    Found once, by its own forward pass on inputs of its own, with the blocks standing aside. Then it is held
    against its class's forward pass as transformers runs it.

    Raises:
        PluginError: its blocks do not hand hidden states to each other, or it computes something else so.
    """
    with _LOCK:
        if not backbone.u2a_found:
            with _still(inputs), _evaluating(backbone):
                backbone(**inputs, **backbone.u2a_architecture.call)  # fails where the inputs are wrong
                known = _refusing(backbone, lambda: _try(backbone, inputs))
                _refusing(backbone, lambda: _compare(backbone, known, inputs))
                backbone.u2a_found, causal = _reads_ahead(backbone, known, inputs)
            backbone.u2a_architecture = replace(known, cls="end") if causal else known
        return backbone.u2a_architecture


def real_tokens(backbone: Any, inputs: Mapping[str, Any], L: int) -> Tensor | None:
    """Which of L tokens are real, by ``attention_mask``; bool [N, L], None = all.

    Raises:
        PluginError: the mask is of other tokens.
    """
    mask_NL = inputs.get("attention_mask")
    if mask_NL is None:
        return None
    if mask_NL.shape[1] != L and hasattr(backbone, "_get_feature_vector_attention_mask"):  # waveforms
        mask_NL = backbone._get_feature_vector_attention_mask(L, mask_NL)
    if mask_NL.shape[1] != L:
        raise PluginError(
            f"attention_mask has {mask_NL.shape[1]} positions and the encoder {L} tokens: collate inputs of "
            "one shape, without a mask"
        )
    return mask_NL.bool()


def _refusing(backbone: nn.Module, step: Callable[[], Any]) -> Any:
    """What a step gives; whatever it raises is told as one line of the class, which cannot be taken."""
    try:
        return step()
    except PluginError:
        raise
    except Exception as error:  # of code that did not expect what it is handed
        raise PluginError(
            f"{type(backbone).__name__} cannot take mask tokens (its forward pass in two halves fails: "
            f"{type(error).__name__}: {one_line(error, 160)}); use another class"
        ) from error


def _compare(backbone: Any, known: Architecture, inputs: Mapping[str, Any]) -> None:
    """Refuse a class that u2a's way, without mask tokens, does not compute as its own forward pass does."""
    torch.manual_seed(0)
    wanted_NLD = getattr(backbone(**inputs, **known.call), "last_hidden_state", None)
    torch.manual_seed(0)  # ViT-MAE draws an order of its patches
    handed = first_half(backbone, known, inputs)
    assert handed.hidden_NLD is not None
    ours_NLD = second_half(backbone, replace(known, norm=""), handed.hidden_NLD, handed)
    _check_places(backbone, known, handed)
    if wanted_NLD is None or wanted_NLD.shape[2:] != ours_NLD.shape[2:]:
        return  # it gives something that is made of its tokens
    normed_NLD = backbone.get_submodule(known.norm)(ours_NLD) if known.norm else ours_NLD
    valid_NL = real_tokens(backbone, inputs, ours_NLD.shape[1])
    if wanted_NLD.shape != ours_NLD.shape or not any(
        _close(one, wanted_NLD, valid_NL) for one in (normed_NLD, ours_NLD)
    ):
        raise PluginError(
            f"{type(backbone).__name__} computes something else than its blocks and its final norm, one after "
            "another, so mask tokens have no place in it; use another class"
        )


def _check_places(backbone: Any, known: Architecture, handed: Handed) -> None:
    """Refuse blocks in which two mask tokens that change places do not change outputs with each other."""
    hidden_NLD = handed.hidden_NLD
    assert hidden_NLD is not None
    L, more_N2D = hidden_NLD.shape[1], torch.cat([hidden_NLD[:, :1], -hidden_NLD[:, -1:]], 1)
    one, other = (
        second_half(backbone, known, torch.cat([hidden_NLD, x_N2D], 1), handed)
        for x_N2D in (more_N2D, more_N2D.flip(1))
    )
    if not _close(one[:, L:], other[:, L:].flip(1), None):
        raise PluginError(
            f"{type(backbone).__name__} has places for tokens inside its blocks, and a mask token has none; "
            "use another class"
        )


def _close(ours_NLD: Tensor, wanted_NLD: Tensor, valid_NL: Tensor | None) -> bool:
    tolerance = 1e-2 if wanted_NLD.dtype == ours_NLD.dtype == torch.float32 else 1e-1  # of any device's kernels
    if valid_NL is not None:
        ours_NLD, wanted_NLD = ours_NLD[valid_NL], wanted_NLD[valid_NL]
    if not wanted_NLD.isfinite().all():
        return True  # others tell of it
    scale = max(1.0, float(wanted_NLD.abs().max()))
    return float((ours_NLD - wanted_NLD).abs().max()) <= tolerance * scale


def _reads_ahead(backbone: Any, known: Architecture, inputs: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether it can be told if the first token of a text sees those behind it; and whether it sees none."""
    ids_NL = inputs.get("input_ids")
    if known.cls != (0,) or ids_NL is None:
        return True, False
    valid_NL = real_tokens(backbone, inputs, ids_NL.shape[1])
    lengths_N = torch.ones_like(ids_NL).sum(1) if valid_NL is None else valid_NL.sum(1)
    row = int(lengths_N.argmax())
    last = int(lengths_N[row]) - 1
    if last < 1:
        return False, False  # the first is the last
    others = ids_NL[ids_NL != ids_NL[row, last]]
    changed_NL = ids_NL.clone()
    changed_NL[row, last] = others[0] if len(others) else ids_NL[row, last] ^ 1
    hidden, other = (
        backbone(**{**inputs, "input_ids": ids}, **known.call).last_hidden_state[row]
        for ids in (ids_NL, changed_NL)
    )
    return True, torch.equal(hidden[0], other[0]) and not torch.equal(hidden[last], other[last])


def _try(backbone: Any, inputs: Mapping[str, Any]) -> Architecture:
    first: Exception | None = None
    for tuples in range(4):  # hidden states alone, or so many values with them in front
        known = replace(backbone.u2a_architecture, tuples=tuples)
        try:
            with _watched(backbone) as seen:
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


@contextmanager
def _evaluating(backbone: nn.Module) -> Iterator[None]:
    """Evaluation mode, and each module's own mode after it."""
    modes = [(module, module.training) for module in backbone.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


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
