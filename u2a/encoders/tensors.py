"""A checkpoint's tensors: read as they are, without adapters, and checked before and after they are used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from u2a.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Tensors that lie beside an encoder's own and take no part in its forward pass: buffers that newer versions
#: compute anew, and the token that masked-image pretraining puts in place of patches.
_HARMLESS = re.compile(
    r"(^|\.)(position_ids|token_type_ids|inv_freq|mask_token|masked_spec_embed|num_batches_tracked)$"
)
#: Modules that wrap others wherever they stand.
_WRAPPER = re.compile(r"(?<![^.])(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
_ADAPTER = re.compile(r"\.(lora_|base_layer|adapters?\.|adapter_)")
_NUMBERED = re.compile(r"\.\d+\.")
#: Heads and poolers that some architectures keep inside a part of their encoder.
_HEADS = re.compile(r"(^|\.)(pooler|head|classifier|lm_head|cls|decoder|projector|predictor|quantizer)(\.|$)")


def read_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """All tensors of a checkpoint's safetensors files.

    transformers is handed these, not the folder: it would apply an ``adapter_config.json`` that lies there
    to weights into which the adapter was merged already. A tensor that was stored once for several names
    (tied weights, by ``safetensors.torch.save_model``) is here under each of them.

    Raises:
        CheckpointError: a file cannot be read, or a tensor is quantised, so that its numbers are not the
            weights; names it.
    """
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            opened = safe_open(path, "pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or no safetensors file ({error}): get it again") from None
        with opened as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, a method of its own
            same = file.metadata() or {}
        tensors |= {
            name: tensors[kept] for name, kept in same.items() if kept in tensors and name not in tensors
        }
    for name, tensor in tensors.items():
        if _is_quantised(name, tensor):
            raise CheckpointError(
                f"{name} is quantised ({str(tensor.dtype).removeprefix('torch.')}), and cannot be adapted; "
                "use the original checkpoint"
            )
    return tensors


def _is_quantised(name: str, tensor: Tensor) -> bool:
    if tensor.is_floating_point():
        return tensor.element_size() == 1
    return name.endswith((".weight", ".bias", ".qweight"))


def unwrapped(tensors: Mapping[str, Tensor], module: nn.Module) -> Mapping[str, Tensor]:
    """The tensors without what DataParallel, torch.compile, FSDP, Lightning and others put into their names.

    Args:
        tensors: by name, e.g. ``net.bert.embeddings.word_embeddings.weight`` beside ``head.weight``.
        module: the encoder; names that begin with a part of it, or with its own prefix, stay.

    Raises:
        CheckpointError: several networks of this kind are in it.
    """
    if any(map(_WRAPPER.search, tensors)):
        tensors = {_WRAPPER.sub("", name): tensor for name, tensor in tensors.items()}
    if prefix := _prefix(tensors, {name for name in module.state_dict() if not _NUMBERED.search(name)}):
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    own = {name for name, _ in module.named_children()} | {getattr(module, "base_model_prefix", "")}
    while tensors:
        first = {name.partition(".")[0] for name in tensors}
        if len(first) > 1 or first & own or any("." not in name for name in tensors):
            break
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    return tensors


def with_final_norm(
    tensors: Mapping[str, Tensor], module_class: Any, norm: str, norms: Sequence[str]
) -> Mapping[str, Tensor]:
    """The tensors, with the final norm under its own name that they hold under one of `norms`."""
    inner = f"{module_class.base_model_prefix}."
    pattern = re.compile(rf"((?:.+?\.)??)({'|'.join(map(re.escape, norms))})\.(weight|bias)")
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if match := pattern.fullmatch(name):
            before, which, leaf = match.groups()
            of_head = any(other.startswith(before + inner) for other in tensors)
            if of_head or which.startswith("pooler."):
                found[f"{before}{inner if of_head else ''}{norm}.{leaf}"] = tensor
    return {**found, **tensors}


def behind_part(tensors: Mapping[str, Tensor], module: nn.Module, part: str) -> Mapping[str, Tensor]:
    """The tensors of an encoder that was saved alone, under the names that it has in the whole class.

    Args:
        part: what the encoder is called there. A tensor that the whole class holds once for several names (T5's
            embedding) is given under all of them.
    """
    tensors = {f"{part}.{name}": tensor for name, tensor in tensors.items()}
    tied = getattr(module, "_tied_weights_keys", None) or {}
    pairs = tied.items() if isinstance(tied, Mapping) else ((f"{part}.embed_tokens.weight", "shared.weight"),)
    return {**{source: tensors[name] for name, source in pairs if name in tensors}, **tensors}


def _prefix(names: Iterable[str], own: Collection[str]) -> str:
    """What stands before most of an encoder's names in a checkpoint; "" where nothing does.

    Args:
        own: the encoder's names outside its blocks; inside, newer versions of transformers renamed some.
    """
    found: Counter[str] = Counter()
    for name in names:
        places = [0, *(match.end() for match in re.finditer(r"\.", name))]
        found.update(name[:at] for at in places if name[at:] in own)
    whole = sorted(prefix for prefix, count in found.items() if 2 * count > len(own))
    if len(whole) > 1 and "" not in whole:
        raise CheckpointError(
            f"it holds several such networks ({', '.join(whole)}): save one of them by itself"
        )
    return whole[0] if len(whole) == 1 else ""


def check_leftovers(
    module: nn.Module, unexpected: Iterable[str], encoder: str, held: Collection[str] = ()
) -> list[str]:
    """The checkpoint's tensors that the module has no place for, once none of them lies inside the encoder.

    A head, a pooler or another tower may be left over. A tensor inside the encoder's own parts is a sign that
    the checkpoint is of another network (relative positions, adapters, more layers), which would compute
    something else than its author's.

    Args:
        held: the names in the checkpoint. One of a model with a head keeps its encoder behind a prefix
            (``bert.``), and what stands beside that is the head's, whatever it is called.

    Raises:
        CheckpointError: names the tensors.
    """
    parts = {name for name, _ in module.named_children()}
    prefix = f"{getattr(module, 'base_model_prefix', '')}."
    behind = prefix[:-1] not in parts and any(name.startswith(prefix) for name in held)
    names = sorted(unexpected)
    inside = []
    for name in names:
        if behind and name in held and not name.startswith(prefix):
            continue
        bare = name.removeprefix(prefix) if behind else name
        if bare.split(".")[0] in parts and not _HARMLESS.search(bare) and not _HEADS.search(bare):
            inside.append(name)
    if inside:
        raise CheckpointError(
            f"encoder {encoder} has {len(inside)} tensors inside its network that {type(module).__name__} does "
            f"not use, e.g. {', '.join(inside[:3])}: {_cause(inside[0])}"
        )
    return names


def check_merged(names: Iterable[str], encoder: str) -> None:
    """Refuse weights that adapters stand beside, whose names are no model's.

    Raises:
        CheckpointError: names one.
    """
    if found := sorted(filter(_ADAPTER.search, names)):
        raise CheckpointError(f"encoder {encoder} has {found[0]}: {_cause(found[0])}")


def _cause(name: str) -> str:
    if _ADAPTER.search(name):
        return "adapters are not merged into the weights; merge them (peft: merge_and_unload) and save it again"
    if re.search(r"(scale|scale_inv|zero_point|SCB|absmax|quant_map|scales|qzeros|g_idx)$", name):
        return "its weights are quantised, and cannot be adapted; use the original checkpoint"
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
