"""Checking a recipe's encoders without reading their weights: what ``u2a recipe check`` says of them."""

from __future__ import annotations

from typing import Any

from u2a.contract.modality import ModalityOptions
from u2a.data.preprocessors import build_preprocessors, encoder_notes
from u2a.encoders.files import PretrainedOptions, is_local, weights_folder
from u2a.errors import RecipeError, U2AError
from u2a.plugins.building import building
from u2a.plugins.registry import Registry
from u2a.recipe.sections import Recipe


def check_encoders(recipe: Recipe) -> list[str]:
    """Build each modality's preprocessor, and its network from its configuration alone.

    Returns:
        What a person should know, a line each; encoders that are not on this machine are not looked at.

    Raises:
        RecipeError: with every fault, one a line, each with the modality.
    """
    notes, faults = [], []
    for name, options in recipe.modalities.items():
        if isinstance(options, PretrainedOptions) and not _is_here(options):
            hint = f'(a hub id; a folder is written "./{options.encoder}")'
            notes.append(f"modalities.{name}: {options.encoder} is not on this machine yet: not checked {hint}")
            continue
        one = recipe.model_copy(update={"modalities": {name: options}})
        try:
            notes += encoder_notes(one, build_preprocessors(one))
            _check_network(name, options, recipe.plugins)
        except U2AError as error:
            text = str(error)
            faults.append(text if name in text.split(":")[0] else f"modalities.{name}: {text}")
    if faults:
        raise RecipeError("\n".join(faults))
    return notes


def _is_here(options: PretrainedOptions) -> bool:
    if is_local(options):
        return True
    from huggingface_hub import try_to_load_from_cache

    known: Any = try_to_load_from_cache(options.encoder, "config.json", revision=options.revision)
    return isinstance(known, str)


def _check_network(name: str, options: ModalityOptions, plugins: Registry) -> None:
    import torch

    spec = plugins.spec(options.kind).chosen(options)
    if isinstance(options, PretrainedOptions) and is_local(options):
        weights_folder(options)
    with building(name, plugins.owners[options.kind], "backbone"), torch.device("meta"):
        backbone = spec.backbone(options, weights=False)
        if spec.tune == "lora":
            spec.lora_targets(backbone)
