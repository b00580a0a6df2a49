"""From a recipe to an opened split."""

from __future__ import annotations

from pathlib import Path

from u2a.data.reading.split import Split, open_split
from u2a.data.shards.dataset import local_path
from u2a.data.storage.cache import Cache
from u2a.recipe.sections import Recipe


def recipe_cache(recipe: Recipe) -> Cache:
    """Where the recipe keeps shards from elsewhere."""
    given = recipe.data.cache_dir
    folder: Path | None = local_path(given) if given else None
    return Cache(folder, int(recipe.data.cache_gb * 1e9))


def open_recipe_split(recipe: Recipe, split: str, *, labelled: bool = True) -> Split:
    """A split of the recipe's data, with the presence that the data has (see `open_split`)."""
    return open_split(
        recipe.data.shards,
        split,
        modalities=tuple(recipe.modalities),
        classes=recipe.task.classes,
        multi_label=recipe.task.kind == "multi_label",
        labelled=labelled,
        cache=recipe_cache(recipe),
        indexes=recipe.data.indexes,
    )


def evaluation_split(recipe: Recipe, split: str) -> Split:
    """Open a labelled split of a recipe's data, with the presence that ``data.missing`` leaves."""
    from u2a.data.reading.missing_rule import apply_missing
    from u2a.data.reading.opening import open_recipe_split

    return apply_missing(open_recipe_split(recipe, split), recipe)
