"""``u2a.network_modality``: a whole modality from a network of one's own with ``embed``, ``encode``, ``width``.

Light: torch is imported inside the functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import (
    Description,
    Inputs,
    ModalityOptions,
    ModalitySpec,
    Preprocessor,
    Suggest,
    Tokens,
    Tune,
)
from u2a.contract.versions import API_VERSION
from u2a.encoders.files import PretrainedOptions, identity_of, weight_files, weights_folder
from u2a.encoders.pretrained import PRETRAINED
from u2a.errors import CheckpointError, PluginError, one_line

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

_ROLES = {
    "query": re.compile(r"(^|\.)(q|query|to_q)(_?(proj|lin|linear|layer))?$"),
    "key": re.compile(r"(^|\.)(k|key|to_k)(_?(proj|lin|linear|layer))?$"),
    "value": re.compile(r"(^|\.)(v|value|to_v)(_?(proj|lin|linear|layer))?$"),
    "output": re.compile(r"(^|\.)(o|out|output|to_out)(_?(proj|lin|linear|layer))?$"),
}


def network_modality(
    name: str,
    network: Callable[[Any], nn.Module],
    extensions: Sequence[str],
    preprocessor: Callable[[Any], Preprocessor],
    *,
    options: type[ModalityOptions] = ModalityOptions,
    to_member: Callable[[Any], bytes] | None = None,
    suggest: Suggest | None = None,
    describe: Callable[[Any, bytes], Description] | None = None,
    preview: Callable[[Any, bytes, int], Image | str] | None = None,
) -> ModalitySpec:
    """A modality whose backbone is a network of the plugin's own.

    ``network(options)`` builds a module with

    * ``width``, the size of its hidden states;
    * ``embed(**inputs)``, what `preprocessor` collates, to `Tokens` or to hidden states [P, L, D] alone;
    * ``encode(hidden_NLD, valid_NL)``, all blocks and the final norm, to hidden states of the same shape;
    * if it is trained whole, perhaps ``n_measures``, ``measure`` and ``fit``: see `Measuring`.

    If `options` is a `PretrainedOptions`, the weights are those of the checkpoint's ``model.safetensors``,
    which must hold every tensor of the network, and the network is frozen and adapted: its blocks'
    projections are the ``nn.Linear`` called q, k, v, o (or query, key ..., q_proj ...), or what its
    ``lora_targets()`` names.
    A recipe may choose another `tune`. Without such options it is trained whole, from scratch.

    Args:
        name, extensions, preprocessor, to_member, suggest, describe, preview: as in `transformers_modality`.
        network: builds the module; it reads no weights.
        options: the recipe section's fields.

    Returns:
        The record to register.

    Raises:
        PluginError: `network` or `options` is of the wrong kind.
    """
    if not callable(network):
        raise PluginError(f"network_modality({name!r}): network must build a module from options")
    if not (isinstance(options, type) and issubclass(options, ModalityOptions)):
        raise PluginError(f"network_modality({name!r}): options must inherit u2a.ModalityOptions")
    parts = _Parts(name, network)
    tune: Tune | tuple[Tune, ...] = PRETRAINED if issubclass(options, PretrainedOptions) else "full"
    return ModalitySpec(
        name=name,
        extensions=extensions if isinstance(extensions, str) else tuple(extensions),  # type: ignore[arg-type]
        options=options,
        preprocessor=preprocessor,
        backbone=parts.backbone,
        embedding=_embedding,
        encoder=_encoder,
        width=parts.width,
        lora_targets=targets_of,
        tune=tune,
        to_member=to_member,
        suggest=suggest,
        describe=describe,
        preview=preview,
        api=API_VERSION,
    )


@dataclass(frozen=True)
class _Parts:
    """The functions of such a record that know its network."""

    name: str
    network: Callable[[Any], nn.Module]

    def backbone(self, options: ModalityOptions, *, weights: bool) -> nn.Module:
        module = self.network(options)
        for part in ("embed", "encode", "width"):
            if not hasattr(module, part):
                raise PluginError(f"network_modality: {type(module).__name__} has no {part}")
        if weights and isinstance(options, PretrainedOptions):
            _read(module, options)
        return module

    def width(self, options: ModalityOptions) -> int:
        import torch

        with torch.device("meta"):
            return int(self.backbone(options, weights=False).width)  # type: ignore[arg-type]


def _read(module: nn.Module, options: PretrainedOptions) -> None:
    from u2a.encoders.identity import IMAGE_FILES, TEXT_FILES, file_hashes
    from u2a.encoders.tensors import check_finite, check_leftovers, read_tensors, unwrapped

    folder = weights_folder(options)
    files = weight_files(folder, options.encoder)
    try:
        tensors = unwrapped(read_tensors(files), module)
        missing, unexpected = module.load_state_dict(tensors, strict=False)
    except Exception as error:  # safetensors and torch raise several classes
        reason = one_line(error, 300)
        raise CheckpointError(f"encoder {options.encoder} cannot be loaded: {reason}") from None
    if missing:
        raise CheckpointError(
            f"encoder {options.encoder} lacks {len(missing)} weights of {type(module).__name__}, "
            f"e.g. {', '.join(sorted(missing)[:3])}"
        )
    check_leftovers(module, unexpected, options.encoder, tensors)
    check_finite(module, options.encoder)
    decisive = file_hashes(folder, ("config.json", *IMAGE_FILES, *TEXT_FILES))
    module.u2a_base = {**identity_of(folder, options), "files": decisive}  # type: ignore[assignment]


def _embedding(backbone: Any, inputs: Inputs) -> Tokens:
    tokens = backbone.embed(**inputs)
    return tokens if isinstance(tokens, Tokens) else Tokens(tokens)


def _encoder(backbone: Any, tokens: Tokens) -> Tensor:
    return backbone.encode(tokens.hidden_NLD, tokens.valid_NL)


def targets_of(backbone: Any) -> list[list[str]]:
    """Query, key, value and output of every block of a network, by their names.

    Raises:
        PluginError: a block has not exactly one of each, or there is none.
    """
    from torch import nn

    if hasattr(backbone, "lora_targets"):
        return backbone.lora_targets()
    found: dict[str, dict[str, list[str]]] = {}
    for name, module in backbone.named_modules():
        roles = [role for role, pattern in _ROLES.items() if pattern.search(name)]
        if isinstance(module, nn.Linear) and roles:
            numbers = re.match(r"(.*?\.\d+)\.", f"{name}.")
            block = numbers[1] if numbers else ""
            found.setdefault(block, {}).setdefault(roles[0], []).append(name)
    for block, names in found.items():
        if sorted(names) != sorted(_ROLES) or any(len(several) > 1 for several in names.values()):
            raise PluginError(
                f"{type(backbone).__name__}: block {block!r} has not one nn.Linear each for query, key, value "
                f"and output (found {sorted(chain(*names.values()))}); name them in a method lora_targets()"
            )
    if not found:
        raise PluginError(
            f"{type(backbone).__name__} has no nn.Linear called q, k, v or o; name its projections in a method "
            "lora_targets()"
        )
    return [[names[role][0] for role in _ROLES] for names in found.values()]
