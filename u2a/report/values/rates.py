"""Trained at one missing rate, tested at another (paper Table 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from u2a.data.reading.missing import draw_table, overlay
from u2a.data.reading.opening import evaluation_split
from u2a.data.reading.split import Split
from u2a.recipe.sections import Recipe

if TYPE_CHECKING:
    from u2a.report.values.analysis import Analysis


@dataclass(frozen=True, order=True)
class Condition:
    """A share of samples that lose something, and what they lose (see `u2a.data.reading.missing.draw_kept`)."""

    rate: float
    missing: str

    def label(self) -> str:
        """``complete``, or ``70 % each``."""
        return f"{100 * self.rate:g} % {self.missing}" if self.rate else "complete"


def train_condition(recipe: Recipe) -> Condition:
    """What a recipe's ``data.missing`` takes from the training samples."""
    rule = recipe.data.missing.rule("train") if recipe.data.missing else None
    if rule is None:
        return Condition(0.0, "")
    if rule.rate is None:
        return _condition_of_table(recipe)
    return Condition(rule.rate, rule.missing or "each") if rule.rate else Condition(0.0, "")


def _condition_of_table(recipe: Recipe) -> Condition:
    from u2a.data.reading.missing_files import read_table
    from u2a.data.shards.dataset import local_path

    assert recipe.data.missing
    rule = recipe.data.missing.rule("train")
    data = recipe.data.model_copy(update={"missing": None})
    split = evaluation_split(recipe.model_copy(update={"data": data}), "train")
    assert rule
    info = read_table(local_path(str(rule.table)), split).info
    return Condition(info.rate, info.missing)


def conditions_of(recipes: Sequence[Recipe]) -> list[Condition]:
    """The conditions that the recipes were trained at, and the complete one, without repetition."""
    return sorted({Condition(0.0, ""), *map(train_condition, recipes)})


def rate_map(
    analysis: Analysis, split: Split, conditions: Sequence[Condition], seed: int
) -> dict[Condition, float]:
    """The headline score under each condition, as ``u2a data mask`` draws its table for this split and seed."""
    scores = {}
    for condition in conditions:
        present_NM = split.present_NM
        if condition.rate:
            table = draw_table(split, rate=condition.rate, missing=condition.missing, seed=seed)
            present_NM = overlay(present_NM, table.kept_NM)
        scores[condition] = analysis.predict(torch.from_numpy(present_NM)[analysis.encoded.place_N]).score()
    return scores
