"""A run beside baselines in words: where it is behind by more than chance, what cannot be told, what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from u2a.evaluation.trained import Model

#: On fewer samples a run has to be worse on a quarter of them before it is more than chance.
FEWEST = 30
#: The rank of adapters that is worth a try.
RANK = 32


def verdict(
    result: Mapping[str, Any], names: Sequence[str], labels: Mapping[str, str], hints: Sequence[str]
) -> list[str]:
    """Where the run is behind a baseline by more than chance does in so many comparisons, and what to try.

    Args:
        result: see `u2a.report.baselines.run_baselines`; names: the modalities; labels: the baselines' by key.

    Returns:
        A first line in words, and what it speaks of.
    """
    rows = result["patterns"]
    if all(np.isnan(row["score"]) for row in rows):
        return ["nothing can be told: the score is not defined on these samples"]
    pairs = [(row, row[key], key) for row in rows for key in labels if key in row]
    pairs = [pair for pair in pairs if not np.isnan(pair[1]["error"])]
    sign, z = 1 if result["higher_is_better"] else -1, norm.isf(0.025 / max(1, len(pairs)))
    found = [pair for pair in pairs if sign * pair[1]["difference"] < -z * pair[1]["error"] - 1e-9]
    behind = [row["missing"] for row, _, _ in found]
    open_rows = [row for row in rows if row["missing"] not in behind]
    few = [f"{_left(row, names)} ({row['n']})" for row in open_rows if row["n"] < FEWEST]
    undefined = [_left(row, names) for row in open_rows if row["n"] >= FEWEST and np.isnan(row["score"])]
    if len(few) + len(undefined) == len(rows):
        return [f"too few samples to tell where it is behind: no pattern that has a score has {FEWEST}"]
    together = f"{len(pairs)} comparisons taken together"
    where = f"pattern of {FEWEST} samples or more" if few else "pattern"
    lines = [f"in no {where} behind a baseline by more than chance, {together}"]
    if found:
        lines = [f"behind a baseline by more than chance, {together}:"]
        lines += [
            f"{_left(row, names)}: {_points(beside)} behind the {labels[key]}" for row, beside, key in found
        ]
    lines += [f"too few samples to tell: {', '.join(few)}"] if few else []
    lines += [f"the score is not defined: {', '.join(undefined)}"] if undefined else []
    return [*lines, f"try: {' or '.join(hints)}"] if found and hints else lines


def _left(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return " + ".join(name for name in names if name not in row["missing"])


def _points(beside: Mapping[str, Any]) -> str:
    return f"{abs(100 * beside['difference']):.1f} points"


def worth_trying(model: Model) -> list[str]:
    """What could help a run that is behind; nothing that would leave it as it is."""
    recipe, found = model.recipe, []
    if not _out_of_patience(model):
        found.append("more training.epochs")
    if recipe.model.lora_rank < RANK and any(branch.targets for branch in model.network.each_branch()):
        found.append(f"model.lora_rank = {RANK}")
    if model.meta["total_steps"]:
        found.append("training.lr half and double of what it is")
    return found


def _out_of_patience(model: Model) -> bool:
    """Whether the training ended since no validation was better: more epochs would end there, too."""
    later = {line["step"] for line in model.run.lines("validation") if line["step"] > model.meta["step"]}
    return 0 < model.recipe.training.patience <= model.meta.get("stale", 0) + len(later)
