"""From a recipe to an opened split."""

from __future__ import annotations

from pathlib import Path

from u2a.data.reading.split import Split, open_split
from u2a.data.shards.dataset import local_path
from u2a.data.storage.cache import Cache
from u2a.errors import U2AError
from u2a.recipe.sections import Recipe


def recipe_cache(recipe: Recipe) -> Cache:
    """Where the recipe keeps shards from elsewhere."""
    given = recipe.data.cache_dir
    folder: Path | None = local_path(given) if given else None
    return Cache(folder, int(recipe.data.cache_gb * 1e9))


def open_recipe_split(recipe: Recipe, split: str, *, labelled: bool = True) -> Split:
    """A split of the recipe's data, with the presence that the data has (see `open_split`).

    Raises:
        U2AError: it cannot be used, or holds what a modality's kind would take for something else.
    """
    found = open_split(
        recipe.data.shards,
        split,
        modalities=tuple(recipe.modalities),
        classes=recipe.task.classes,
        multi_label=recipe.task.kind == "multi_label",
        labelled=labelled,
        cache=recipe_cache(recipe),
        indexes=recipe.data.indexes,
    )
    _check_texts(found, recipe)
    return found


def _check_texts(split: Split, recipe: Recipe) -> None:
    """A kind of texts takes any bytes that are text; JSON, which may say the label as well, is no such text."""
    kinds = {name: recipe.plugins.spec(options.kind) for name, options in recipe.modalities.items()}
    texts = {n for n, spec in kinds.items() if "txt" in spec.extensions and "json" not in spec.extensions}
    for index, _, _ in split.indexes():
        mapped = index.info.mapping.modalities if index.info.mapping else {}
        for name in texts & mapped.keys():
            if odd := [one for one in mapped[name] if one.rpartition(".")[2] == "json"]:
                raise U2AError(
                    f"{split.name}: {name!r} is mapped to {odd[0]} members, and its kind {kinds[name].name} "
                    "reads txt: each text would be a whole JSON document, with the label if that stands there; "
                    f"index the shards with --ignore {odd[0]} or as a kind that reads json"
                )


def evaluation_split(recipe: Recipe, split: str) -> Split:
    """Open a labelled split of a recipe's data, with the presence that ``data.missing`` leaves."""
    from u2a.data.reading.missing_rule import apply_missing
    from u2a.data.reading.opening import open_recipe_split

    return apply_missing(open_recipe_split(recipe, split), recipe)
