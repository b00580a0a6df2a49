"""The objective of a recipe, on one process or spread over many by DDP."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from u2a.common.distributed import World
from u2a.method.model import U2A
from u2a.method.objective import Objective
from u2a.recipe.sections import Recipe


def build_objective(model: U2A, recipe: Recipe, place: World, class_weights: Tensor | None = None) -> nn.Module:
    """What a step calls: samples in, losses out; gradients are averaged over the processes."""
    training = recipe.training
    objective = Objective(
        model,
        alignment_weight=training.alignment_weight,
        detach_target=training.detach_target,
        exhaustive=training.modality_dropout == "exhaustive",
        class_weights=class_weights,
    )
    if place.size == 1:
        return objective
    devices = [place.device] if place.device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.14 has another name for broadcast_buffers
        return DistributedDataParallel(
            objective, device_ids=devices, find_unused_parameters=True, broadcast_buffers=False
        )


@contextlib.contextmanager
def synced(objective: nn.Module, last: bool) -> Iterator[None]:
    """Gradients are averaged over the processes after the last micro-batch of a step alone."""
    parted = isinstance(objective, DistributedDataParallel) and not last
    with objective.no_sync() if parted else contextlib.nullcontext():  # type: ignore[operator]
        yield
