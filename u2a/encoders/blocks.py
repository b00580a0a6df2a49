"""Inside a transformers encoder: running its blocks, masking padding, finding its attention projections."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from u2a.errors import U2AError

if TYPE_CHECKING:
    from torch import Tensor, nn

_IN_ATTENTION = re.compile(r"(^|[._])(attn|attention|SelfAttention)(\.|$)")
_OF_POSITIONS = re.compile(r"(^|\.)(pos_|linear_pos|gru_rel_pos)")  # of relative ones
_ROLES = {
    "query": re.compile(r"(^|\.)(q|query|q_proj|q_lin|query_proj|linear_q)$"),
    "key": re.compile(r"(^|\.)(k|key|k_proj|k_lin|key_proj|linear_k)$"),
    "value": re.compile(r"(^|\.)(v|value|v_proj|v_lin|value_proj|linear_v)$"),
    "output": re.compile(r"(^|\.)(o|o_proj|out_proj|out_lin|dense|Wo|linear_out|proj)$"),
}


def run_blocks(backbone: Any, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Tensor:
    """All transformer blocks of a backbone, without its embeddings and final norm.

    Older transformers versions keep the blocks in ``backbone.encoder``, newer ones in ``backbone.layers``
    for some architectures.

    Args:
        backbone: a transformers encoder.
        hidden_NLD: float tensor.
        valid_NL: bool tensor, False = padding that no position may attend to; None = no padding.

    Returns:
        hidden_NLD after the last block.
    """
    mask = attention_mask(backbone, hidden_NLD, valid_NL)
    if hasattr(backbone, "encoder"):
        return backbone.encoder(hidden_NLD, attention_mask=mask).last_hidden_state
    for block in backbone.layers:
        hidden_NLD = block(hidden_NLD, mask)
    return hidden_NLD


def attention_mask(backbone: Any, hidden_NLD: Tensor, valid_NL: Tensor | None) -> Any:
    """The mask that the backbone's attention implementation wants; None where nothing is masked."""
    if valid_NL is None:
        return None
    from transformers.masking_utils import create_bidirectional_mask

    return create_bidirectional_mask(config=backbone.config, inputs_embeds=hidden_NLD, attention_mask=valid_NL)


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
    """The list of a backbone's blocks.

    Raises:
        U2AError: there is not exactly one.
    """
    return backbone.get_submodule(_blocks(backbone)[0])


def _blocks(backbone: Any) -> tuple[str, int]:
    from torch import nn

    wanted = backbone.config.num_hidden_layers
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
