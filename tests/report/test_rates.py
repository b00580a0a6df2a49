"""Trained at one missing rate, tested at another: each cell under the table that ``u2a data mask`` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from torch import nn

from u2a.data.reading.missing import draw_table
from u2a.data.reading.opening import evaluation_split
from u2a.evaluation.encoding import Encoded
from u2a.method.model import U2A
from u2a.recipe.file import load_recipe
from u2a.report.values.analysis import Analysis
from u2a.report.values.rates import Condition, conditions_of, rate_map


class Named(nn.Module):
    """As much of a branch as token selection and the head need."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def test_a_cell_is_the_score_under_the_table_of_this_rate_and_seed(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """The third sample has no text and the fifth no picture: what a table takes of them, they keep."""
    n, draw = 24, torch.Generator().manual_seed(2)
    presence = lambda i: (i != 4, i != 2)  # noqa: E731
    file = toys.make(tmp_path, checkpoints, counts={"train": 4, "test": n}, presence=presence)
    recipe = load_recipe(file, ["data.missing.train.rate=0.5", "data.missing.train.missing=each"])
    split = evaluation_split(recipe, "test")
    assert conditions_of([recipe, recipe]) == [Condition(0.0, ""), Condition(0.5, "each")]
    network = U2A([Named("image"), Named("text")], 3, 4, "fp32").requires_grad_(False)  # type: ignore[list-item]
    cls_NMD, mask_NMMD = torch.randn(n, 2, 3, generator=draw), torch.randn(n, 2, 2, 3, generator=draw)
    target_N = torch.randint(4, (n,), generator=draw)
    place_N = torch.arange(n).flip(0)  # an encoding may hold the samples in another order, or some of them
    present_NM = torch.from_numpy(split.present_NM)[place_N]
    side = Encoded(cls_NMD, mask_NMMD, present_NM, target_N, place_N, tuple(split.key(int(i)) for i in place_N))
    found = []
    for seed in range(4):
        wanted = []
        for condition in conditions_of([recipe]):
            kept_NM = np.ones((n, 2), bool)
            if condition.rate:
                table = draw_table(split, rate=condition.rate, missing=condition.missing, seed=seed)
                kept_NM = table.kept_NM
            right = 0
            for row, place in enumerate(place_N.tolist()):
                has = [m for m in (0, 1) if split.present_NM[place, m] and kept_NM[place, m]]
                has = has or np.flatnonzero(split.present_NM[place]).tolist()
                fused_D = sum(cls_NMD[row, m] if m in has else mask_NMMD[row, 1 - m, m] for m in (0, 1))
                right += int((network.head.weight @ fused_D + network.head.bias).argmax()) == int(target_N[row])
            wanted.append(right / n)
        analysis = Analysis(network, side, recipe.task, side.keys)
        cells = rate_map(analysis, split, conditions_of([recipe]), seed)
        assert list(cells.values()) == pytest.approx(wanted)
        found.append(cells[Condition(0.5, "each")])
    assert len(set(found)) > 1
