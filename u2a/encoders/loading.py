"""Loading transformers checkpoints, for any plugin: safetensors only, always float32, never remote code."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from u2a.encoders.architectures import Architecture
from u2a.encoders.files import (
    PretrainedOptions,
    config_folder,
    identity_of,
    read_json,
    weight_files,
    weights_folder,
)
from u2a.encoders.identity import file_hashes
from u2a.encoders.quiet import quiet
from u2a.encoders.tensors import (
    behind_part,
    check_finite,
    check_leftovers,
    check_merged,
    read_tensors,
    unwrapped,
    with_final_norm,
)
from u2a.errors import CheckpointError, U2AError, one_line

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel


def transformers_class(name: str) -> type[PreTrainedModel]:
    """A class of transformers by name.

    Its module is imported with tensors on the CPU even where the caller builds on another device: some
    modules behind it make constants on import, and these must not become meta tensors for good. What it warns
    of on import (of torch's deprecated functions, say) is the library's own affair.

    Raises:
        U2AError: the installed transformers has no such class.
    """
    import torch
    import transformers

    with torch.device("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Any = getattr(transformers, name, None)
    if found is None:
        raise U2AError(
            f"transformers {transformers.__version__} has no class {name!r}; if it is a name of a newer one: "
            "pip install --upgrade transformers"
        )
    return found  # type: ignore[no-any-return]


def load_config(model_class: type[PreTrainedModel], folder: Path) -> PreTrainedConfig:
    """The architecture's configuration in ``folder``; of a composite (CLIP) the part of ``model_class``.

    Raises:
        U2AError: the file does not fit the architecture.
    """
    whole = read_json(folder, "config.json")
    config_class: Any = model_class.config_class
    older = whole.get(
        f"{getattr(config_class, 'base_config_key', '')}_dict"
    )  # of a composite; whole models heed it
    try:
        with quiet():
            config = config_class.from_pretrained(folder, trust_remote_code=False)
            return config_class.from_dict({**config.to_dict(), **older}) if isinstance(older, dict) else config
    except Exception as error:  # transformers validates with errors of many kinds
        raise U2AError(f"{folder / 'config.json'} cannot be used: {one_line(error, 300)}") from None


def config_of(known: Architecture, options: PretrainedOptions, packaged: Path | None = None) -> Any:
    """The configuration of a recipe's checkpoint, which is of this architecture; errors: see `load_config`."""
    return load_config(transformers_class(known.class_name), config_folder(options, packaged))


def load_backbone(
    model_class: type[PreTrainedModel],
    options: PretrainedOptions,
    *,
    weights: bool,
    packaged: Path | None = None,
    unused: Sequence[str] = (),
    decisive: Sequence[str] = (),
    settings: Mapping[str, Any] = MappingProxyType({}),
    part: str = "",
    final: tuple[str, Sequence[str]] = ("", ()),
    **init: Any,
) -> nn.Module:
    """Build one backbone in float32 with scaled-dot-product attention, and read its weights.

    Args:
        model_class: the headless transformers class.
        options: encoder and revision.
        weights: False = build from the configuration only, e.g. under ``torch.device("meta")``.
        packaged: the plugin's folder of packaged configurations, used when no weights are read.
        unused: prefixes of parameters that the plugin's forward pass does not use; they may be missing.
        decisive: names of the files that the plugin's preprocessor reads, which decide the output as well.
        settings: entries of the configuration that are overruled.
        part: the submodule that is the encoder; a checkpoint may hold it alone.
        final: the final norm, and other names that a checkpoint may hold it under.
        init: further arguments of the class, e.g. ``add_pooling_layer=False``.

    Returns:
        The module, with ``u2a_base`` (id, revision, sha256 of the weights, hashes of config.json and of the
        decisive files; None without weights) and ``u2a_ignored`` (names of checkpoint tensors that belong
        to other heads).

    Raises:
        CheckpointError: the checkpoint lacks a weight that the forward pass uses or has one inside the
            encoder that it does not use, shapes differ, or a weight is not finite.
        U2AError: it cannot be found or read.
    """
    folder = weights_folder(options) if weights else config_folder(options, packaged)
    config = load_config(model_class, folder)
    for key, value in settings.items():
        setattr(config, key, value)
    if getattr(config, "is_decoder", False):
        raise U2AError(f"encoder {options.encoder} is configured as a decoder; an encoder is needed")
    relative = getattr(config, "position_embedding_type", None)
    if relative in ("relative_key", "relative_key_query"):
        raise U2AError(
            f"{folder / 'config.json'}: position_embedding_type is {relative}, which transformers' "
            f"{model_class.__name__} no longer computes; use a checkpoint with absolute positions"
        )
    module: Any
    if weights:
        module, ignored = _read(model_class, config, folder, options, unused, part, final, init)
    else:
        config._attn_implementation = _attention(model_class)
        module, ignored = model_class(config, **init), []
    module.u2a_base = identity_of(folder, options) if weights else None
    if weights:
        check_finite(module, options.encoder)
        small = config_folder(options, packaged)  # where the preprocessor reads
        module.u2a_base["files"] = file_hashes(folder, ("config.json",)) | file_hashes(small, decisive)
    module.u2a_ignored = ignored
    return module


def load_architecture(
    known: Architecture,
    options: PretrainedOptions,
    *,
    weights: bool,
    packaged: Path | None = None,
    decisive: Sequence[str] = (),
) -> nn.Module:
    """`load_backbone` for an architecture that is known; the module can be run by `encoders.structure`.

    Returns:
        The encoder, with what is known of it in ``u2a_architecture``.
    """
    from u2a.encoders.structure import prepare, split_fused

    norm = known.norm or "layernorm"
    pooled = known.norms and getattr(config_of(known, options, packaged), "use_mean_pooling", False)
    if pooled:
        settings = {**known.settings, "use_mean_pooling": False}  # with which the norm is the encoder's own
        known = replace(known, cls=None, settings=settings, unused=(*known.unused, f"{norm}."))
    whole: Any = load_backbone(
        transformers_class(known.class_name),
        options,
        weights=weights,
        packaged=packaged,
        unused=known.unused,
        decisive=decisive,
        settings=known.settings,
        part=known.part,
        final=(norm, known.norms if pooled else ()),
        **known.init,
    )
    if pooled and any(name.startswith(f"{norm}.") for name in getattr(whole, "u2a_lacks", ())):
        known = replace(known, norm="")
    encoder = getattr(whole, known.part) if known.part else whole
    encoder.u2a_base, encoder.u2a_ignored = whole.u2a_base, whole.u2a_ignored
    encoder.u2a_architecture = known
    split_fused(encoder)
    prepare(encoder)
    return encoder


def _attention(model_class: type[PreTrainedModel]) -> str:
    """Scaled-dot-product attention, where transformers has it for an architecture."""
    return "sdpa" if getattr(model_class, "_supports_sdpa", False) else "eager"


def _read(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    folder: Path,
    options: PretrainedOptions,
    unused: Sequence[str],
    part: str,
    final: tuple[str, Sequence[str]],
    init: dict[str, Any],
) -> tuple[nn.Module, list[str]]:
    def load(tensors: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any], list[str]]:
        with quiet():
            module, info = _from_tensors(model_class, config, tensors, init)
        return module, info, sorted(key for key in info["missing_keys"] if not key.startswith(tuple(unused)))

    try:
        tensors: Mapping[str, Any] = read_tensors(weight_files(folder, options.encoder))
        if final[1]:
            tensors = with_final_norm(tensors, model_class, *final)
        module, info, missing = load(tensors)
        bare = unwrapped(tensors, module) if missing else tensors
        if bare is not tensors and len((again := load(bare))[2]) < len(missing):
            tensors, (module, info, missing) = bare, again
        if missing and part:
            alone = behind_part(bare, module, part)
            if not (again := load(alone))[2]:
                tensors, (module, info, missing) = alone, again
    except Exception as error:  # safetensors, shape and key errors come in many classes
        raise CheckpointError(f"encoder {options.encoder} cannot be loaded: {one_line(error, 300)}") from None
    for name, held, wanted in info["mismatched_keys"]:
        raise CheckpointError(
            f"encoder {options.encoder} cannot be loaded: {name} is {list(held)} in the weights and "
            f"{list(wanted)} by config.json: the two belong to different checkpoints"
        )
    if missing:
        check_merged(tensors, options.encoder)
        raise CheckpointError(
            f"encoder {options.encoder} lacks {len(missing)} weights that the model needs, e.g. "
            f"{', '.join(missing[:3])}: is it a complete {model_class.__name__} checkpoint? "
            f"It has {len(tensors)} tensors, e.g. {', '.join(sorted(tensors)[:2])}"
        )
    module.u2a_lacks = info["missing_keys"]  # type: ignore[assignment]
    return module, check_leftovers(module, info["unexpected_keys"], options.encoder, tensors)


def _from_tensors(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    tensors: Mapping[str, Any],
    init: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    import torch

    loader: Any = model_class
    return loader.from_pretrained(
        None,
        config=copy.deepcopy(config),
        state_dict=dict(tensors),
        dtype=torch.float32,  # the default keeps a half-precision file in half precision
        attn_implementation=_attention(model_class),
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused by name
        trust_remote_code=False,
        **init,
    )
