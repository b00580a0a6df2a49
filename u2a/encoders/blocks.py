"""Inside a transformers encoder: its blocks, and their attention projections."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from u2a.errors import U2AError

if TYPE_CHECKING:
    from torch import nn

_IN_ATTENTION = re.compile(r"(^|[._])(attn|attention|SelfAttention)(\.|$)")
_OF_POSITIONS = re.compile(r"(^|\.)(pos_|linear_pos|gru_rel_pos)")  # of relative ones
_ROLES = {
    "query": re.compile(r"(^|\.)(q|query|q_proj|q_lin|query_proj|linear_q)$"),
    "key": re.compile(r"(^|\.)(k|key|k_proj|k_lin|key_proj|linear_k)$"),
    "value": re.compile(r"(^|\.)(v|value|v_proj|v_lin|value_proj|linear_v)$"),
    "output": re.compile(r"(^|\.)(o|o_proj|out_proj|out_lin|dense|Wo|linear_out|proj)$"),
}


def lora_targets(backbone: nn.Module) -> list[list[str]]:
    """Full names of query, key, value and attention output of every block, in that order.

    Found by structure, not by a list of architectures: within each of the ``num_hidden_layers`` blocks,
    the linear layers that lie inside an attention module.

    Raises:
        U2AError: a block does not have exactly one linear layer for each of the four.
    """
    prefix, count = _blocks(backbone)
    return [_projections(backbone, f"{prefix}.{index}") for index in range(count)]


def block_list(backbone: Any) -> Any:
    """The list of a backbone's blocks; its name is kept, since each pass asks for it.

    Raises:
        U2AError: there is not exactly one.
    """
    if not hasattr(backbone, "u2a_blocks"):
        backbone.u2a_blocks = _blocks(backbone)[0]
    return backbone.get_submodule(backbone.u2a_blocks)


def _blocks(backbone: Any) -> tuple[str, int]:
    from torch import nn

    wanted = getattr(backbone.config, "num_hidden_layers", None)
    if not isinstance(wanted, int):
        raise U2AError(
            f"{type(backbone).__name__} has no one list of attention blocks (no num_hidden_layers), so mask "
            "tokens have no place in it; use another class"
        )
    found = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == wanted and _has_attention(module[0])
    ]
    found = [name for name in found if not any(name.startswith(f"{outer}.") for outer in found)]
    if len(found) != 1:
        raise U2AError(
            f"{type(backbone).__name__}: expected one list of {wanted} attention blocks, found {len(found)}"
        )
    return found[0], wanted


def _has_attention(block: nn.Module) -> bool:
    return any(_IN_ATTENTION.search(name) for name, _ in block.named_modules())


def _projections(backbone: nn.Module, block: str) -> list[str]:
    from torch import nn

    linear = [
        name
        for name, module in backbone.get_submodule(block).named_modules()
        if isinstance(module, nn.Linear) and _IN_ATTENTION.search(name) and not _OF_POSITIONS.search(name)
    ]
    chosen = [[name for name in linear if role.search(name)] for role in _ROLES.values()]
    if len(linear) != 4 or any(len(names) != 1 for names in chosen):
        raise U2AError(
            f"{type(backbone).__name__} {block}: expected 4 attention projections (query, key, value, output), "
            f"found {linear}; the encoder needs separate nn.Linear projections"
        )
    return [f"{block}.{names[0]}" for names in chosen]
