"""From a recipe to a model: read each checkpoint once, share frozen copies, count parameters."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from u2a.common.seeds import stable_seed
from u2a.contract.blame import Owner, blame
from u2a.contract.modality import ModalityOptions, ModalitySpec
from u2a.errors import PluginError, U2AError
from u2a.method.branch import UnimodalBranch
from u2a.method.model import U2A
from u2a.method.read_out import ReadOuts
from u2a.plugins.building import building
from u2a.plugins.kinds import naming_kinds
from u2a.recipe.sections import Recipe
from u2a.runs.sharing import FrozenCopies, identity_of

_BUILDING = threading.RLock()


def build_model(recipe: Recipe, *, weights: bool = True) -> U2A:
    """The model of a recipe, freshly initialised from its seed.

    Args:
        weights: read the encoders' checkpoints; False builds on the meta device, for counting.

    Returns:
        The model on the CPU (or meta device), frozen tensors in the recipe's precision, learnable ones in
        float32. Each branch carries ``base``, the identity of its base weights.

    Raises:
        PluginError: a plugin failed or broke the contract; it is named.
    """
    registry = recipe.plugins
    specs = {name: registry.spec(options.kind).chosen(options) for name, options in recipe.modalities.items()}
    widths = {}
    for name, options in recipe.modalities.items():
        with building(name, registry.owners[options.kind], "width"), naming_kinds(recipe.plugins):
            widths[name] = specs[name].width(options)
    plain_sum = recipe.model.fusion == "sum"
    width = recipe.model.width or max(widths.values())
    backbones = _Backbones(recipe, specs, weights)
    branches = []
    # One thread at a time: the random generator that is seeded here is the process's.
    with (
        _BUILDING,
        torch.random.fork_rng(devices=[]),
        contextlib.nullcontext() if weights else torch.device("meta"),
    ):
        for name, options in recipe.modalities.items():
            torch.manual_seed(stable_seed("backbone", recipe.seed, name))  # of those that are trained whole
            backbone, base = backbones.get(name, options)
            torch.manual_seed(stable_seed("init", recipe.seed, name))
            owner = registry.owners[options.kind]
            spec = _asked(specs[name], name, owner, backbone, widths[name])
            with blame(name, owner, "lora_targets"):
                branch = UnimodalBranch(
                    name,
                    spec,
                    options,
                    owner,
                    backbone,
                    width=width if plain_sum else widths[name],
                    n_mask_tokens=_n_mask_tokens(recipe),
                    lora=_lora(recipe),
                    adapt_blocks=recipe.model.adapt_blocks,
                )
            branch.base = base
            branches.append(branch)
        torch.manual_seed(stable_seed("init", recipe.seed, "head"))
        read_outs = None if plain_sum else _read_outs(recipe, widths)
        return U2A(branches, width, len(recipe.task.classes), recipe.training.precision, read_outs)


def _asked(spec: ModalitySpec, name: str, owner: Owner, backbone: nn.Module, width: int) -> ModalitySpec:
    """The record with the plugin's answers, so that nothing that it changes on the way meets ours."""
    targets: list[list[str]] = []
    if spec.tune == "lora":
        with building(name, owner, "lora_targets"):
            targets = spec.lora_targets(backbone)
    return replace(spec, width=lambda _: width, lora_targets=lambda _: targets)


def _read_outs(recipe: Recipe, widths: dict[str, int]) -> ReadOuts:
    names = list(recipe.modalities)
    rank = recipe.model.proxy_rank
    return ReadOuts(names, [widths[name] for name in names], _n_mask_tokens(recipe), rank)


def _n_mask_tokens(recipe: Recipe) -> int:
    per_target = recipe.model.mask_tokens == "per_target"
    return max(1, len(recipe.modalities) - 1) if per_target else 1


def _lora(recipe: Recipe) -> dict[str, float]:
    return {
        "rank": recipe.model.lora_rank,
        # Over the root of the rank, every rank learns as fast (Kalajdzievski, 2023).
        "alpha": recipe.model.lora_alpha or math.sqrt(recipe.model.lora_rank),
        "dropout": recipe.model.lora_dropout,
    }


class _Backbones:
    """Backbones by modality; those of one checkpoint share their frozen tensors."""

    def __init__(self, recipe: Recipe, specs: dict[str, ModalitySpec], weights: bool) -> None:
        self.specs, self.owners, self.weights = specs, recipe.plugins.owners, weights
        self.dtype = torch.bfloat16 if recipe.training.precision == "bf16" else torch.float32
        self.copies = FrozenCopies()

    def get(self, name: str, options: ModalityOptions) -> tuple[nn.Module, dict[str, Any]]:
        spec = self.specs[name]
        try:
            with building(name, self.owners[options.kind], "backbone") as changed:
                backbone = spec.backbone(options, weights=self.weights)
                if not isinstance(backbone, nn.Module):
                    raise PluginError("backbone must return an nn.Module")
                base = base_identity(backbone, spec) if self.weights else {}
        except PluginError:
            raise
        except U2AError as error:
            raise type(error)(f"modalities.{name}: {error}") from error
        if "torch's default dtype" in changed:
            backbone.float()  # it was built in another one, which is put back
        if spec.tune != "full":
            backbone.to(self.dtype)
            self.copies.tie(backbone, identity_of(spec, options, base))
        return backbone, base


def base_identity(backbone: nn.Module, spec: ModalitySpec) -> dict[str, Any]:
    """The identity of base weights: ``id``, ``revision``, ``sha256``.

    A backbone that read a checkpoint says so in its attribute ``u2a_base``; otherwise the frozen tensors
    themselves are hashed. A modality that is trained and saved whole has none but its checkpoint's files.
    """
    if spec.tune == "full":  # its weights are in the checkpoint; what else decides the output is not
        files: Any = getattr(backbone, "u2a_base", {}).get("files")
        return {"files": dict(files)} if files else {}
    if hasattr(backbone, "u2a_base"):
        return dict(backbone.u2a_base)  # type: ignore[arg-type]
    digest = hashlib.sha256()
    for key, tensor in sorted(backbone.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return {"id": None, "revision": None, "sha256": digest.hexdigest()}


@dataclass(frozen=True)
class Part:
    """Parameters of one part of the model; a shared frozen copy is counted where it first appears."""

    name: str
    total: int
    learnable: int


def count_parameters(model: U2A) -> list[Part]:
    """Total and learnable parameters of every part, in recipe order, then the head."""
    seen: set[int] = set()

    def count(name: str, parameters: list[nn.Parameter]) -> Part:
        fresh = [p for p in parameters if id(p) not in seen]
        seen.update(map(id, fresh))
        learnable = sum(p.numel() for p in fresh if p.requires_grad)
        return Part(name, sum(p.numel() for p in fresh), learnable)

    parts = []
    for branch in model.each_branch():
        learnable = dict(branch.learnable())
        adapters = [p for name, p in learnable.items() if name.startswith("blocks.")]
        lora_ids = set(map(id, adapters))
        parts.append(
            count(f"{branch.name}.encoder", [p for p in branch.backbone.parameters() if id(p) not in lora_ids])
        )
        if adapters:
            parts.append(count(f"{branch.name}.lora", adapters))
        parts.append(count(f"{branch.name}.mask_tokens", [branch.mask_tokens_KD]))
        if "projection.weight" in learnable:
            parts.append(count(f"{branch.name}.projection", [learnable["projection.weight"]]))
    if model.read_outs is not None and model.read_outs.proxies:
        parts.append(count("proxies", list(model.read_outs.parameters())))
    parts.append(count("head", list(model.head.parameters())))
    return parts
