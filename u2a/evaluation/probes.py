"""Linear probes, fitted along a path of regularisation strengths: multinomial, or one a class at once.

Shape suffixes: N samples, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from u2a.evaluation.time_limit import UNLIMITED, TimeLimit
from u2a.method.head_start.frozen import stretch_of
from u2a.method.losses import task_losses

#: Strengths of the regularisation that validation chooses among, strongest first.
STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
#: Worse than the best so far by this factor: stop walking down the path.
PATIENCE = 1.02
#: Steps of L-BFGS at each strength, in parts after which the time is looked at.
STEPS, PART = 60, 10


@dataclass(frozen=True)
class Probe:
    """A fitted probe: features to ``p_NC``."""

    weight_CF: Tensor
    bias_C: Tensor
    strength: float
    single_label: bool

    def __call__(self, x_NF: np.ndarray) -> np.ndarray:
        logits_NC = torch.from_numpy(x_NF) @ self.weight_CF.T + self.bias_C
        return (logits_NC.softmax(1) if self.single_label else logits_NC.sigmoid()).numpy()


def best_probe(
    x_NF: np.ndarray,
    target: np.ndarray,
    x_val: np.ndarray,
    target_val: np.ndarray,
    n_classes: int,
    strengths: Sequence[float] = STRENGTHS,
    limit: TimeLimit = UNLIMITED,
    start: Probe | None = None,
    fits_left: int = 0,
) -> Probe:
    """Logistic regression of the strength with the least validation loss.

    Minimises the mean loss plus ``strength / 2 * ||W||^2`` for each class, as scikit-learn's
    ``LogisticRegression(C=1 / (strength * N))`` does; each fit begins where the one before ended.

    Args:
        target: ``[N]`` class numbers, or ``[N, C]`` of 0 and 1.
        limit: each strength may take an equal part of what is left of the fit's time; then the path ends.
        start: where the first fit begins; otherwise at zero.
        fits_left: so many parts of that time are left for what comes after.
    """
    x, y, x_judged, y_judged = map(torch.from_numpy, (x_NF, target, x_val, target_val))
    weight_CF, bias_C = x.new_zeros(n_classes, x.shape[1]), x.new_zeros(n_classes)
    if start is not None:
        weight_CF, bias_C = start.weight_CF.clone(), start.bias_C.clone()
    parameters = [weight_CF.requires_grad_(), bias_C.requires_grad_()]
    per_class = n_classes if y.dim() == 2 else 1  # task losses are means over the classes

    def loss(strength: float) -> Tensor:
        losses_N = task_losses(x @ weight_CF.T + bias_C, y)
        return per_class * losses_N.mean() + strength / 2 * weight_CF.square().sum()

    best: tuple[float, Probe] | None = None
    for k, strength in enumerate(strengths):
        limit.part(len(strengths) + fits_left - k)
        with torch.enable_grad():
            _minimise(parameters, partial(loss, strength), limit)
        with torch.no_grad():
            judged = float(task_losses(x_judged @ weight_CF.T + bias_C, y_judged).mean())
        if best is None or judged < best[0]:
            kept = weight_CF.detach().clone(), bias_C.detach().clone()
            best = judged, Probe(*kept, strength, y.dim() == 1)
        elif judged > best[0] * PATIENCE:
            break
        if limit.over():
            break
    assert best is not None
    return best[1]


def _minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor], limit: TimeLimit) -> None:
    """L-BFGS in place, until it no longer moves or the time is up."""
    stretch = stretch_of(parameters, loss, PART)
    reached = float("inf")
    for _ in range(STEPS // PART):
        before, reached = reached, stretch()
        if limit.up() or before - reached <= 1e-8:
            break
