"""The losses (paper eqs. 6 and 7): the public name of `u2a.method.losses`."""

from u2a.method.losses import (
    Counts,
    alignment_loss,
    compute_losses,
    exhaustive_task_losses,
    task_losses,
)

__all__ = [
    "Counts",
    "alignment_loss",
    "compute_losses",
    "exhaustive_task_losses",
    "task_losses",
]
