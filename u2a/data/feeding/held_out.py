"""Which training samples a recipe holds out for validation."""

from __future__ import annotations

import numpy as np

from u2a.data.feeding.plan import holdout
from u2a.data.reading.split import Split
from u2a.recipe.sections import Recipe


def held_out(train: Split, recipe: Recipe) -> tuple[np.ndarray, bool]:
    """Bool ``[N]``, True = held out (``data.holdout``), and whether twins or groups were kept together."""
    share = recipe.data.holdout
    groups_N = train.groups() if share else None
    return holdout(len(train), share, recipe.seed, groups_N), groups_N is not None
