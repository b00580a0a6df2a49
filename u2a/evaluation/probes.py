"""Linear probes, fitted along a path of regularisation strengths: multinomial, or one a class at once.

Shape suffixes: N samples, F features, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from u2a.method.head_start import minimise
from u2a.method.losses import task_losses

#: Strengths of the regularisation that validation chooses among, strongest first.
STRENGTHS = tuple(10.0**power for power in range(1, -6, -1))
#: Worse than the best so far by this factor: stop walking down the path.
PATIENCE = 1.02
STEPS = 60

Probe = Callable[[np.ndarray], np.ndarray]


def best_probe(
    x_NF: np.ndarray,
    target: np.ndarray,
    x_val: np.ndarray,
    target_val: np.ndarray,
    n_classes: int,
    strengths: Sequence[float] = STRENGTHS,
) -> Probe:
    """Logistic regression of the strength with the least validation loss: features to ``p_NC``.

    Minimises the mean loss plus ``strength / 2 * ||W||^2`` for each class, as scikit-learn's
    ``LogisticRegression(C=1 / (strength * N))`` does; each fit begins where the one before ended.

    Args:
        target: ``[N]`` class numbers, or ``[N, C]`` of 0 and 1.
    """
    x, y, x_judged, y_judged = map(torch.from_numpy, (x_NF, target, x_val, target_val))
    weight_CF, bias_C = x.new_zeros(n_classes, x.shape[1]), x.new_zeros(n_classes)
    parameters = [weight_CF.requires_grad_(), bias_C.requires_grad_()]
    per_class = n_classes if y.dim() == 2 else 1  # task losses are means over the classes

    def loss(strength: float) -> Tensor:
        losses_N = task_losses(x @ weight_CF.T + bias_C, y)
        return per_class * losses_N.mean() + strength / 2 * weight_CF.square().sum()

    best: tuple[float, Tensor, Tensor] | None = None
    for strength in strengths:
        with torch.enable_grad():
            minimise(parameters, partial(loss, strength), STEPS)
        with torch.no_grad():
            judged = float(task_losses(x_judged @ weight_CF.T + bias_C, y_judged).mean())
        if best is None or judged < best[0]:
            best = judged, weight_CF.detach().clone(), bias_C.detach().clone()
        elif judged > best[0] * PATIENCE:
            break
    assert best is not None
    _, weight, bias = best

    def predict(x_NF: np.ndarray) -> np.ndarray:
        logits_NC = torch.from_numpy(x_NF) @ weight.T + bias
        return (logits_NC.softmax(1) if y.dim() == 1 else logits_NC.sigmoid()).numpy()

    return predict
