"""``u2a.transformers_modality``: a whole modality from the name of a transformers class.

Light: torch and transformers are imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from u2a.contract.modality import (
    Description,
    Inputs,
    ModalitySpec,
    Preprocessor,
    Suggest,
    Tokens,
    Tune,
)
from u2a.contract.versions import API_VERSION
from u2a.encoders.architectures import Architecture
from u2a.encoders.files import PretrainedOptions, config_folder, read_json
from u2a.errors import PluginError, U2AError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

#: How a modality with a pretrained backbone can be trained; a recipe's ``tune`` chooses.
PRETRAINED: tuple[Tune, ...] = ("lora", "frozen", "full")
#: Randomness of pretraining that would go on in training, and a memory of earlier passes; what a
#: configuration does not have it ignores.
_STILL = {
    "apply_spec_augment": False,
    "layerdrop": 0.0,
    "mask_ratio": 0.0,
    "use_cache": False,
    **dict.fromkeys(("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale")),
}


#: Weights that no hidden state depends on, so that a checkpoint may lack them.
_NORMS = ("pooler.layernorm", "layernorm", "fc_norm")
_UNUSED = ("pooler.", "head.", "embeddings.mask_token", "masked_spec_embed")


def transformers_modality(
    name: str,
    model_class: str | Architecture,
    extensions: Sequence[str],
    preprocessor: Callable[[Any], Preprocessor],
    *,
    options: type[PretrainedOptions] = PretrainedOptions,
    to_member: Callable[[Any], bytes] | None = None,
    suggest: Suggest | None = None,
    describe: Callable[[Any, bytes], Description] | None = None,
    preview: Callable[[Any, bytes, int], Image | str] | None = None,
) -> ModalitySpec:
    """A modality whose backbone is a checkpoint of one transformers class.

    Width, LoRA targets, class token, final norm and sharing are derived from the class and the checkpoint. A
    recipe names the checkpoint: ``encoder = "./FOLDER"`` or a hub id. What `preprocessor` collates goes to the
    class's own forward pass by name; ``attention_mask`` [P, L], if there, says which tokens are real.

    Args:
        name: the modality's name.
        model_class: the headless class, e.g. ``"ViTModel"``; or an `Architecture` that says more about it.
        extensions: file extensions, without dots, that the preprocessor reads.
        preprocessor: builds a `Preprocessor` from the options; `PaddingCollate` is a base for one.
        options: more fields for the recipe's section.
        to_member, suggest, describe, preview: see `ModalitySpec`.

    Returns:
        The record to register.

    Raises:
        PluginError: `model_class` is not a name or an `Architecture`, or `options` has no encoder.
    """
    if isinstance(model_class, type):
        raise PluginError(
            f"transformers_modality({name!r}): give the class's name, {model_class.__name__!r}, so that "
            "listing plugins need not import transformers"
        )
    if not isinstance(model_class, str | Architecture):
        raise PluginError(f"transformers_modality({name!r}): model_class must be a class's name")
    if not (isinstance(options, type) and issubclass(options, PretrainedOptions)):
        raise PluginError(f"transformers_modality({name!r}): options must inherit u2a.PretrainedOptions")
    parts = _Parts(name, model_class)
    return ModalitySpec(
        name=name,
        extensions=extensions if isinstance(extensions, str) else tuple(extensions),  # type: ignore[arg-type]
        options=options,
        preprocessor=preprocessor,
        backbone=parts.backbone,
        embedding=parts.embedding,
        encoder=encode,
        width=parts.width,
        lora_targets=lora_targets,
        first_blocks=first_blocks,
        skip_blocks=skip_blocks,
        tune=PRETRAINED,
        to_member=to_member,
        suggest=suggest,
        describe=describe,
        preview=preview,
        api=API_VERSION,
    )


@dataclass(frozen=True)
class _Parts:
    """The functions of such a record."""

    name: str
    model_class: str | Architecture

    @property
    def known(self) -> Architecture:
        if isinstance(self.model_class, Architecture):
            return self.model_class
        return Architecture(self.model_class, settings=_STILL, unused=_UNUSED, norms=_NORMS)

    def config(self, options: PretrainedOptions) -> Any:
        from u2a.encoders.loading import load_config
        from u2a.encoders.refusals import model_type

        found, folder = self.found_class(), config_folder(options)
        own = found.config_class
        if getattr(own, "base_config_key", "") not in read_json(
            folder, "config.json"
        ):  # no part of a composite
            model_type(folder, (own.model_type,), options.encoder)
        return load_config(found, folder)

    def found_class(self) -> Any:
        from u2a.encoders.loading import transformers_class

        try:
            return transformers_class(self.known.class_name)
        except U2AError as error:
            raise PluginError(f"modality {self.name!r}: {error}") from None

    def backbone(self, options: PretrainedOptions, *, weights: bool) -> nn.Module:
        from u2a.encoders.derived import class_positions
        from u2a.encoders.identity import IMAGE_FILES, TEXT_FILES
        from u2a.encoders.loading import load_architecture
        from u2a.encoders.positions import fit_grid

        self.config(options)  # the right kind of checkpoint
        known, derived = self.known, isinstance(self.model_class, str)
        if derived:
            known = replace(known, init=_taken(self.found_class().__init__, add_pooling_layer=False))
        module: Any = load_architecture(known, options, weights=weights, decisive=(*IMAGE_FILES, *TEXT_FILES))
        if derived:
            call = _taken(module.forward, interpolate_pos_encoding=True)
            cls = module.u2a_architecture.cls and class_positions(module)  # None: its author reads the mean
            module.u2a_architecture = replace(known, call=call, cls=cls)
        module.u2a_found = not derived
        if hasattr(module, "embeddings"):
            fit_grid(module, options.encoder)
        return module

    def embedding(self, backbone: Any, inputs: Inputs) -> Tokens:
        from u2a.encoders.derived import found_by_running, real_tokens
        from u2a.encoders.structure import class_of, split_tokens

        known = found_by_running(backbone, inputs)
        tokens = split_tokens(backbone, inputs)
        valid_NL = real_tokens(backbone, inputs, tokens.hidden_NLD.shape[1])
        return replace(tokens, valid_NL=valid_NL, cls=class_of(known, valid_NL))

    def width(self, options: PretrainedOptions) -> int:
        size = getattr(self.config(options), "hidden_size", None)
        if not isinstance(size, int):
            raise U2AError(f"encoder {options.encoder}: config.json has no hidden_size")
        return size


def encode(backbone: nn.Module, tokens: Tokens) -> Tensor:
    """All blocks, and the final norm on every position; see `u2a.encoders.structure.run_tokens`."""
    from u2a.encoders.structure import run_tokens

    return run_tokens(backbone, tokens)


def first_blocks(backbone: nn.Module, tokens: Tokens, count: int) -> Tokens:
    """See `u2a.encoders.structure.first_blocks`."""
    from u2a.encoders.structure import first_blocks

    return first_blocks(backbone, tokens, count)


def skip_blocks(backbone: nn.Module, tokens: Tokens, count: int) -> Tokens:
    """See `u2a.encoders.structure.skip_blocks`."""
    from u2a.encoders.structure import skip_blocks

    return skip_blocks(backbone, tokens, count)


def lora_targets(backbone: nn.Module) -> list[list[str]]:
    """See `u2a.encoders.blocks.lora_targets`."""
    from u2a.encoders.blocks import lora_targets

    return lora_targets(backbone)


def _taken(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that a function has."""
    import inspect

    return {name: value for name, value in arguments.items() if name in inspect.signature(function).parameters}
