"""Which runs are of one recipe: they differ in their seed alone."""

from __future__ import annotations

from typing import Any

from u2a.recipe.sections import Recipe

#: Keys of the recipe's data section that say where a run is computed, not what.
MACHINE = ("workers", "cache_dir", "cache_gb")


def signature(recipe: Recipe) -> dict[str, Any]:
    """What runs over several seeds have in common."""
    values = recipe.resolved()
    data = {k: v for k, v in values["data"].items() if k not in (*MACHINE, "missing")}
    missing = _without_draw(values["data"].get("missing", {}))
    training = {k: v for k, v in values["training"].items() if k not in ("device", "loggers")}
    rest = {k: v for k, v in values.items() if k not in ("name", "seed")}
    return {**rest, "data": {**data, "missing": missing}, "training": training}


def _without_draw(rule: dict[str, Any]) -> dict[str, Any]:
    """``data.missing``, or its rule for a split, without what only says which samples are drawn."""
    kept = {k: v for k, v in rule.items() if k not in ("seed", "table")}
    return {k: _without_draw(v) if isinstance(v, dict) else v for k, v in kept.items()}
