"""Running any transformers encoder in two halves, by its structure: up to its first block, and from there on.

An encoder's own forward pass is run with its blocks standing aside: what it hands to each of them (hidden
states, masks, rotary or relative positions) is kept. Mask tokens are then appended to the hidden states, what
was handed over is widened for them, and the blocks run. A mask token has no position: it attends to every
valid token and is attended to by all, at distance zero. So it is the same in a padded batch as in none.
(Sizes of batches are read from ``.shape`` all along: ``len`` would make them constants of an exported graph.)

Shape suffixes: N rows, L tokens, K mask tokens, D width.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from u2a.contract.modality import Tokens
from u2a.encoders.architectures import Architecture
from u2a.encoders.attention import appended, replace_forward
from u2a.encoders.blocks import block_list

_ASIDE = threading.local()


@dataclass
class Handed:
    """What an encoder's forward pass handed to its blocks, one after another."""

    tuples: int
    hidden_NLD: Tensor | None = None
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)


def prepare(backbone: nn.Module) -> None:
    """Let a backbone's blocks stand aside when `first_half` asks for it; otherwise they run as they are."""
    replace_forward(backbone)
    for block in block_list(backbone):
        block.forward = MethodType(_forward, block)  # bound, so that a copy of the block has its own
    known: Architecture | None = getattr(backbone, "u2a_architecture", None)
    if known is not None and known.pre_norm:
        norm = backbone.get_submodule(known.pre_norm)
        norm.forward = MethodType(_norm, norm)
    for name, module in backbone.named_modules():
        if name.endswith("relative_position_bias") and not isinstance(module, nn.Embedding):
            module.register_forward_hook(_widen_bias, with_kwargs=True)


def first_half(backbone: Any, architecture: Architecture, inputs: Mapping[str, Any]) -> Handed:
    """An encoder's embeddings, and what its forward pass hands to its blocks."""
    handed = Handed(architecture.tuples)
    outer, _ASIDE.handed = getattr(_ASIDE, "handed", None), handed
    try:
        backbone(**inputs, **architecture.call)
    finally:
        _ASIDE.handed = outer
    return handed


def second_half(
    backbone: Any, architecture: Architecture, hidden_NLD: Tensor, handed: Handed, begun: int = 0
) -> Tensor:
    """Blocks and final norm on hidden states that K tokens were appended to; [N, L + K, D].

    Args:
        begun: the first blocks that `first_blocks` has run already.
    """
    hidden_NLD = _run_blocks(backbone, architecture, hidden_NLD, handed, slice(begun, None))
    return backbone.get_submodule(architecture.norm)(hidden_NLD) if architecture.norm else hidden_NLD


def _run_blocks(
    backbone: Any, architecture: Architecture, hidden_NLD: Tensor, handed: Handed, which: slice
) -> Tensor:
    assert handed.hidden_NLD is not None
    L, K = handed.hidden_NLD.shape[1], hidden_NLD.shape[1] - handed.hidden_NLD.shape[1]
    if architecture.pre_norm and not which.start:
        hidden_NLD = backbone.get_submodule(architecture.pre_norm)(hidden_NLD)
    bias = _shared_bias(backbone, hidden_NLD, L, K)
    blocks = list(zip(block_list(backbone), handed.calls, strict=True))
    for block, (args, kwargs) in blocks[which]:
        args, kwargs = _causal(block, args, kwargs, hidden_NLD, L) if K else (args, kwargs)
        wider = {key: _widen(key, value, L, K) for key, value in kwargs.items()}
        if bias is not None:
            args, wider = args[:1], {**wider, "position_bias": bias}
        named = zip(_names(type(block)), args, strict=False)  # type: ignore[arg-type]
        with appended(K):
            output = block(hidden_NLD, *(_widen(key, value, L, K) for key, value in named), **wider)
        hidden_NLD = output[0] if isinstance(output, tuple) else output
    return hidden_NLD


@lru_cache
def _names(block_class: Any) -> tuple[str, ...]:
    """What a block's forward pass calls that which it is handed behind the hidden states."""
    _, _, *names = inspect.signature(block_class.forward).parameters
    return tuple(names) if "attention_mask" in names else ("attention_mask", *names[1:])


def split_tokens(backbone: Any, inputs: Mapping[str, Any], valid_NL: Tensor | None = None) -> Tokens:
    """`first_half` as the tokens of an embedding; `run_tokens` goes on with them."""
    known: Architecture = backbone.u2a_architecture
    handed = first_half(backbone, known, inputs)
    assert handed.hidden_NLD is not None
    return Tokens(handed.hidden_NLD, valid_NL, cls=class_of(known, valid_NL), extra={"handed": handed})


def class_of(known: Architecture, valid_NL: Tensor | None) -> tuple[int, ...] | Tensor | None:
    """`Tokens.cls` of rows with these real tokens."""
    if known.cls != "end":
        return known.cls
    return (-1,) if valid_NL is None else valid_NL.long().sum(1) - 1


def run_tokens(backbone: Any, tokens: Tokens) -> Tensor:
    """`second_half` on tokens of `split_tokens`, with mask tokens appended or without."""
    begun = tokens.extra.get("begun", 0)
    return second_half(backbone, backbone.u2a_architecture, tokens.hidden_NLD, tokens.extra["handed"], begun)


def first_blocks(backbone: Any, tokens: Tokens, count: int) -> Tokens:
    """The first blocks over tokens of `split_tokens`; `run_tokens` goes on from there (`ModalitySpec`)."""
    known, handed = backbone.u2a_architecture, tokens.extra["handed"]
    hidden_NLD = _run_blocks(backbone, known, tokens.hidden_NLD, handed, slice(0, count))
    return skip_blocks(backbone, replace(tokens, hidden_NLD=hidden_NLD), count)


def skip_blocks(backbone: Any, tokens: Tokens, count: int) -> Tokens:
    """Tokens that the first blocks have run over already; see `ModalitySpec`."""
    return replace(tokens, extra={**tokens.extra, "begun": count})


def split_fused(backbone: nn.Module) -> None:
    """Projections of query, key and value in one layer, as three, so that each can be adapted."""
    for name, module in list(backbone.named_modules()):
        if name.endswith("attn.Wqkv") and isinstance(module, nn.Linear):
            parent, _, own = name.rpartition(".")
            setattr(backbone.get_submodule(parent), own, FusedProjections(module))


class FusedProjections(nn.Module):
    """Query, key and value side by side; computes what the one layer computed that it is made of."""

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        size, device = fused.out_features // 3, fused.weight.device
        parts = []
        for n in range(3):
            part = nn.Linear(fused.in_features, size, bias=fused.bias is not None, device=device)
            part.weight = nn.Parameter(fused.weight.detach()[n * size : (n + 1) * size].clone())
            if fused.bias is not None:
                part.bias = nn.Parameter(fused.bias.detach()[n * size : (n + 1) * size].clone())
            parts.append(part)
        self.query, self.key, self.value = parts

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., 3 D]."""
        return torch.cat([self.query(x), self.key(x), self.value(x)], -1)


def _norm(self: Any, hidden_NLD: Tensor) -> Tensor:
    """A norm before the blocks: it stands aside with them, until the mask tokens are there."""
    aside = getattr(_ASIDE, "handed", None) is not None
    return hidden_NLD if aside else type(self).forward(self, hidden_NLD)


def _forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    handed: Handed | None = getattr(_ASIDE, "handed", None)
    if handed is None:
        return type(self).forward(self, *args, **kwargs)
    hidden_NLD, *args = args  # type: ignore[assignment]  # first in every class whose blocks can be adapted
    if handed.hidden_NLD is None:
        handed.hidden_NLD = hidden_NLD
    handed.calls.append((tuple(args), kwargs))
    return (hidden_NLD, *[None] * (handed.tuples - 1)) if handed.tuples else hidden_NLD


def _widen(key: str, value: Any, L: int, K: int) -> Any:
    """What a block is handed, for K more tokens at the end."""
    if not K or key == "relative_position_embeddings":  # conformers: see `encoders.attention`
        return value
    if key == "position_embeddings" and isinstance(value, tuple):  # cosine and sine: no rotation
        cos, sin = value
        return _pad_rows(cos, K, 1.0), _pad_rows(sin, K, 0.0)
    if key == "position_ids" and isinstance(value, Tensor):
        return torch.cat([value, value.new_zeros((*value.shape[:-1], K))], -1)
    if isinstance(value, Tensor) and value.dim() >= 3 and L in value.shape[-2:]:
        return _widen_mask(value, L, K) if key == "attention_mask" else _pad_square(value, L, K)
    return value


def _causal(
    block: nn.Module, args: Any, kwargs: dict[str, Any], hidden_NLD: Tensor, L: int
) -> tuple[Any, dict[str, Any]]:
    """The mask that a block would make itself, were it told, or did it know, no more than that it is causal."""
    mask = args[0] if args else kwargs.get("attention_mask")
    if mask is not None or not (kwargs.get("is_causal") or _knows_causal(block)):
        return args, kwargs
    mask_11LL = torch.ones((1, 1, L, L), dtype=torch.bool, device=hidden_NLD.device).tril()
    return (), {**kwargs, "attention_mask": mask_11LL}


def _knows_causal(block: nn.Module) -> bool:
    """Scaled-dot-product attention that is handed no mask asks its module."""
    asked = [module for module in block.modules() if getattr(module, "is_causal", None) is True]
    configs = (getattr(module, "config", None) for module in asked)
    return any(getattr(config, "_attn_implementation", "") == "sdpa" for config in configs)


def _pad_rows(value: Tensor, K: int, fill: float) -> Tensor:
    return torch.cat([value, value.new_full((*value.shape[:-2], K, value.shape[-1]), fill)], -2)


def _widen_mask(mask: Tensor, L: int, K: int) -> Tensor:
    """Mask tokens attend to what any token attends to, and to each other; every token attends to them."""
    if mask.shape[-2] == L:
        allowed = mask.any(-2, keepdim=True) if mask.dtype == torch.bool else mask.amax(-2, keepdim=True)
        mask = torch.cat([mask, allowed.expand(*mask.shape[:-2], K, -1)], -2)
    # true of a bool mask, 1 of an int one, and 0 of one that is added to the scores
    columns = mask.new_full((*mask.shape[:-1], K), 0 if mask.is_floating_point() else 1)
    return torch.cat([mask, columns], -1)


def _pad_square(value: Tensor, L: int, K: int) -> Tensor:
    for dim in (-2, -1):
        if value.shape[dim] == L:
            more = list(value.shape)
            more[dim] = K
            value = torch.cat([value, value.new_zeros(more)], dim)
    return value


def _widen_bias(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Tensor) -> Tensor:
    """A bias that a block makes itself, from the picture's size: zero for tokens that are not of it."""
    wanted = kwargs.get("dim_size")
    more = 0 if wanted is None else wanted - output.shape[-1]
    return nn.functional.pad(output, (0, more, 0, more)) if more > 0 else output


def _shared_bias(backbone: Any, hidden_NLD: Tensor, L: int, K: int) -> Tensor | None:
    """T5 and WavLM make their relative bias in the first block, from the number of tokens alone."""
    first = block_list(backbone)[0]
    own: Any = getattr(first, "attention", None)
    if hasattr(own, "compute_bias"):  # WavLM: by rows and heads
        return _pad_square(own.compute_bias(L, L), L, K).repeat(hidden_NLD.shape[0], 1, 1)
    first = getattr(first, "layer", None)
    attention = getattr(first[0], "SelfAttention", None) if isinstance(first, nn.ModuleList) else None
    if attention is None:
        return None
    bias_1HLL = attention.compute_bias(L, L, device=attention.q.weight.device)
    return _pad_square(bias_1HLL, L, K)
