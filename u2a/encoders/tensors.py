"""A checkpoint's tensors: read as they are, without adapters, and checked before and after they are used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from u2a.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Tensors that lie beside an encoder's own and take no part in its forward pass: buffers that newer versions
#: compute anew, and the token that masked-image pretraining puts in place of patches.
_HARMLESS = re.compile(
    r"(^|\.)(position_ids|token_type_ids|inv_freq|mask_token|masked_spec_embed|num_batches_tracked)$"
)
#: Heads and poolers that some architectures keep inside a part of their encoder.
_HEADS = re.compile(r"(^|\.)(pooler|head|classifier|lm_head|cls|decoder|projector|predictor|quantizer)(\.|$)")


def read_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """All tensors of a checkpoint's safetensors files.

    transformers is handed these, not the folder: it would apply an ``adapter_config.json`` that lies there
    to weights into which the adapter was merged already.
    """
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= load_file(path)
    return tensors


def check_leftovers(module: nn.Module, unexpected: Iterable[str], encoder: str) -> list[str]:
    """The checkpoint's tensors that the module has no place for, once none of them lies inside the encoder.

    A head, a pooler or another tower may be left over. A tensor inside the encoder's own parts is a sign that
    the checkpoint is of another network (relative positions, adapters, more layers), which would compute
    something else than its author's.

    Raises:
        CheckpointError: names the tensors.
    """
    parts = {name for name, _ in module.named_children()}
    names = sorted(unexpected)
    inside = [
        name
        for name in names
        if name.split(".")[0] in parts and not _HARMLESS.search(name) and not _HEADS.search(name)
    ]
    if inside:
        raise CheckpointError(
            f"encoder {encoder} has {len(inside)} tensors inside its network that {type(module).__name__} does "
            f"not use, e.g. {', '.join(inside[:3])}: {_cause(inside[0])}"
        )
    return names


def _cause(name: str) -> str:
    if re.search(r"\.(lora_|base_layer|adapters?\.|adapter_)", name):
        return "adapters are not merged into the weights; merge them (peft: merge_and_unload) and save it again"
    if "distance_embedding" in name or "rel_pos" in name or "relative" in name:
        return "it attends by relative positions, which this model does not have; use another checkpoint"
    return "config.json (e.g. its number of layers) does not describe these weights; use a matching pair"


def check_finite(module: nn.Module, encoder: str) -> None:
    """Refuse weights that no computation can use.

    Raises:
        CheckpointError: names the tensor.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).sum())
            raise CheckpointError(
                f"encoder {encoder}: {name} holds {bad} values that are not finite (NaN or infinite): "
                "the file is damaged or its training diverged; use another checkpoint"
            )
