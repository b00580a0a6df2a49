"""Runs whose data or encoders lie elsewhere than when they began.

Where something lies is no part of what it is, if its content is checked: shards by their fingerprint (with the
tables of missing modalities over them), encoders by the hashes of their weights and files. A checkpoint holds
both, and refuses others.
"""

from __future__ import annotations

from typing import Any

from u2a.common.files import write_text
from u2a.recipe.file import dump_recipe
from u2a.recipe.sections import Recipe
from u2a.runs.folder import Run


def without_places(resolved: dict[str, Any]) -> dict[str, Any]:
    """A resolved recipe without the keys that only say where something lies."""
    data = {key: value for key, value in resolved["data"].items() if key != "shards"}
    if data.get("missing"):
        data["missing"] = _without_tables(data["missing"])
    modalities = {
        name: {key: value for key, value in section.items() if key not in ("encoder", "revision")}
        for name, section in resolved["modalities"].items()
    }
    return {**resolved, "data": data, "modalities": modalities}


def without_machine(resolved: dict[str, Any]) -> dict[str, Any]:
    """A recipe without what may differ from day to day: places, device, loaders, loggers, bad samples."""
    kept = without_places(resolved)
    machine = dict.fromkeys(
        ("device", "loggers", "save_minutes", "workers", "on_error", "cache_dir", "cache_gb")
    )
    kept |= {section: {**kept[section], **machine} for section in ("training", "data")}
    kept["training"]["frozen_cache_gb"] = bool(kept["training"].get("frozen_cache_gb"))  # how much, not whether
    return kept


def _without_tables(rule: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_tables(value) if isinstance(value, dict) else bool(value) if key == "table" else value
        for key, value in rule.items()
    }


def record_move(run: Run, recipe: Recipe) -> None:
    """Write where things lie now into the run's recipe: from now on they are looked for there; and what samples
    do that cannot be read.

    Call it once the checkpoint has been loaded, which checks their content.
    """
    before = run.recipe()
    data = recipe.data
    places = {"shards": data.shards, "missing": data.missing, "on_error": data.on_error}
    kept = before.data.model_copy(update=places)
    moved = before.model_copy(update={"data": kept, "modalities": recipe.modalities})
    if moved.resolved() != before.resolved():
        write_text(run.recipe_file, dump_recipe(moved))


def record_epochs(run: Run, recipe: Recipe) -> None:
    """Write the epochs of an extended training into the run's recipe."""
    before = run.recipe()
    if before.training.epochs != recipe.training.epochs:
        write_text(run.recipe_file, dump_recipe(before.with_epochs(recipe.training.epochs)))
