"""How fast what learns when: the paper's schedule, and the optimizer of the learnable tensors by part."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from u2a.method.branch import UnimodalBranch
from u2a.method.model import U2A
from u2a.recipe.sections import LrFactors, Recipe, TrainingSection

#: Steps that small sets need: they are given up to MOST_EPOCHS for them, large ones FEWEST_EPOCHS.
ENOUGH_STEPS = 800
FEWEST_EPOCHS, MOST_EPOCHS = 5, 10


def choose_epochs(recipe: Recipe, steps_per_epoch: int, *, validates: bool) -> Recipe:
    """The recipe with its epochs, where it leaves them out; the fewest where nothing tells too many."""
    if not recipe.leaves_epochs_out:
        return recipe
    epochs = math.ceil(ENOUGH_STEPS / steps_per_epoch) if validates else FEWEST_EPOCHS
    return recipe.with_epochs(min(max(epochs, FEWEST_EPOCHS), MOST_EPOCHS))


def learning_rate(t: int, steps_per_epoch: int, training: TrainingSection) -> float:
    """The paper's schedule: 0.1 x lr through warm-up, then ``lr (1 - (t - t_w) / (T - t_w))^power``."""
    warm, total = warm_steps(steps_per_epoch, training), training.epochs * steps_per_epoch
    if t < warm:
        return 0.1 * training.lr
    return training.lr * (1 - (t - warm) / (total - warm)) ** training.power


def warm_steps(steps_per_epoch: int, training: TrainingSection) -> int:
    """Steps of warm-up: those of `warmup_epochs`, or half of a training that is no longer than these."""
    if training.warmup_epochs and training.warmup_epochs >= training.epochs:
        return training.epochs * steps_per_epoch // 2
    return training.warmup_epochs * steps_per_epoch


def notices(steps_per_epoch: int, training: TrainingSection) -> list[str]:
    """What a person should know of the schedule before it begins: a warm-up that was shortened."""
    warm = warm_steps(steps_per_epoch, training)
    if warm == training.warmup_epochs * steps_per_epoch:
        return []
    total = training.epochs * steps_per_epoch
    return [
        f"warm-up shortened to {warm} of {total} steps: training.warmup_epochs is {training.warmup_epochs}, "
        f"training.epochs {training.epochs}"
    ]


def extended(before: int, done: int, steps_per_epoch: int, training: TrainingSection) -> str:
    """What a person should know of a training that was to have `before` steps and goes on to more."""
    rate = learning_rate(done, steps_per_epoch, training)
    return (
        f"extended from {before // steps_per_epoch} to {training.epochs} epochs: from step {done} on, the "
        f"learning rate is that of a training of {training.epochs} epochs ({rate:.3g} now)"
    )


def parameter_groups(model: U2A, factors: LrFactors) -> list[dict[str, Any]]:
    """The learnable tensors by part, each with its ``factor`` on the learning rate."""
    parts: dict[str, list[nn.Parameter]] = {name: [] for name in LrFactors.model_fields}
    for branch in model.each_branch():
        for name, parameter in branch.learnable():
            part = {"mask_tokens": "mask_tokens", "projection.weight": "projection"}.get(name)
            parts[part or _part_of(branch)].append(parameter)
    if model.read_outs is not None:
        parts["proxies"] += model.read_outs.parameters()
    parts["head"] += model.head.parameters()
    return [{"params": ps, "factor": getattr(factors, part)} for part, ps in parts.items() if ps]


def _part_of(branch: UnimodalBranch) -> str:
    """What an encoder's own learnable tensors are."""
    if branch.spec.tune != "full":
        return "lora"
    return "pretrained" if hasattr(branch.backbone, "u2a_base") else "encoder"


def build_optimizer(model: U2A, training: TrainingSection) -> torch.optim.AdamW:
    """AdamW on the learnable tensors."""
    groups = parameter_groups(model, training.lr_factors)
    return torch.optim.AdamW(groups, lr=training.lr, eps=training.eps, weight_decay=training.weight_decay)


def take_step(optimizer: torch.optim.Optimizer, lr: float, norm: float) -> bool:
    """Take the step, unless a gradient is not finite; the norm is the same on every process."""
    if finite := math.isfinite(norm):
        for group in optimizer.param_groups:
            group["lr"] = lr * group["factor"]
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return finite
