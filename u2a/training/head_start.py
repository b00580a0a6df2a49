"""The head start in a training: encode once, fit on the first process, share the result.

Shape suffixes: N samples, M modalities in recipe order, B batch, P present samples, H one encoder's width, K
mask tokens.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch.distributed as dist
from torch import Tensor, nn

from u2a.common.distributed import World
from u2a.common.seeds import stable_seed
from u2a.data.feeding.batches import Batch
from u2a.data.reading.split import Split
from u2a.evaluation.encoding import encode_columns
from u2a.method.head_start import FrozenTokens, Summary, fit_head_start
from u2a.method.model import U2A
from u2a.method.read_out import ModalityHead, ReadOuts, ReadTokens
from u2a.recipe.sections import LrFactors, Recipe

#: ReadTokens kept in memory for the fit; beyond it, samples are drawn.
CACHE_BYTES = 2 << 30


def head_start(model: U2A, data: Any, recipe: Recipe, place: World) -> Summary:
    """Fit what stands behind the encoders on the frozen encoders' tokens of the training samples."""
    train = encode_tokens(model, data.train, _places(model, np.flatnonzero(data.plan.use_N), recipe), data)
    validation = None
    if data._validation is not None:
        n = np.arange(len(data._validation)) if data._places is None else data._places
        validation = encode_tokens(model, data._validation, _places(model, n, recipe), data)
    summary = [Summary()]
    modules = cast(ReadOuts, model.read_outs), cast(ModalityHead, model.head)
    if place.main:
        summary = [
            fit_head_start(
                *modules,
                train,
                validation,
                read_out=recipe.model.read_out,
                seed=stable_seed("head start", recipe.seed),
            )
        ]
    if place.size > 1:
        for tensor in [*modules[0].state_dict().values(), *modules[1].state_dict().values()]:
            dist.broadcast(tensor, src=0)
        dist.broadcast_object_list(summary, device=place.device)
    return summary[0]


def _places(model: U2A, places: np.ndarray, recipe: Recipe) -> np.ndarray:
    """All the places, or as many as the cache holds, drawn from the seed."""
    branches = list(model.each_branch())
    numbers = sum((2 + len(b.mask_tokens_KD)) * b.mask_tokens_KD.shape[1] for b in branches)
    most = max(1, CACHE_BYTES // (4 * numbers))
    if len(places) <= most:
        return places
    draw = np.random.default_rng(stable_seed("head start", recipe.seed))
    return np.sort(draw.permutation(places)[:most])


def encode_tokens(model: U2A, split: Split, places: np.ndarray, data: Any) -> FrozenTokens:
    """What the encoders make of the given samples, without augmentation, in evaluation mode."""
    columns = encode_columns(
        model,
        split,
        data.preprocessors,
        data.recipe.task,
        data.place,
        _columns,
        places=places,
        workers=data.workers,
    )
    *tokens, present_NM, target, _ = columns
    M = len(model.names)
    parts = [ReadTokens(*tokens[3 * m : 3 * m + 3]) for m in range(M)]
    return FrozenTokens(tuple(parts), present_NM, target)


def _columns(model: U2A, batch: Batch) -> tuple[Tensor, ...]:
    """Class, mean and mask tokens of every modality, zeros where it is absent."""
    columns: list[Tensor] = []
    for m, branch in enumerate(model.each_branch()):
        present_B = batch.present_BM[:, m]
        K, H = branch.mask_tokens_KD.shape
        empty = branch.mask_tokens_KD.new_zeros
        rows = [empty(len(present_B), H), empty(len(present_B), H), empty(len(present_B), K, H)]
        if branch.name in batch.inputs:
            for row, part in zip(rows, model.run_branch(m, batch.inputs), strict=True):
                row[present_B] = part.to(row.dtype)
        columns += rows
    return tuple(columns)


def parameter_groups(model: U2A, factors: LrFactors) -> list[dict[str, Any]]:
    """The learnable tensors by part, each with its ``factor`` on the learning rate."""
    parts: dict[str, list[nn.Parameter]] = {name: [] for name in LrFactors.model_fields}
    for branch in model.each_branch():
        for name, parameter in branch.learnable():
            part = {"mask_tokens": "mask_tokens", "projection.weight": "projection"}.get(name)
            parts[part or ("encoder" if branch.spec.tune == "full" else "lora")].append(parameter)
    if model.read_outs is not None:
        parts["proxies"] += model.read_outs.parameters()
    parts["head"] += model.head.parameters()
    return [{"params": ps, "factor": getattr(factors, part)} for part, ps in parts.items() if ps]
