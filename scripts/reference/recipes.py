"""``python -m scripts.reference.recipes > docs/recipes.md``: every key of a recipe, made from the models."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel

from u2a.plugins.describe import modality_rows, option_rows
from u2a.plugins.loading import registry
from u2a.recipe.data import DataSection, MissingRule
from u2a.recipe.sections import ModelSection, Recipe, TrainingSection
from u2a.recipe.task import TaskSection

_HEAD = """# Recipes

Made by `python -m scripts.reference.recipes` from the models in `u2a/recipe/sections.py` and the shipped
plugins; edit those. Where the default is empty, the key may be left out.

A recipe is one TOML file. Unknown keys are refused with the nearest known name, and all faults are told at
once, before anything is computed: `u2a recipe check RECIPE`. `u2a recipe show RECIPE` prints every value in
effect, `u2a recipe copy NAME` gives you a shipped recipe, `u2a recipe schema` a JSON Schema for your editor.

Paths in a recipe are relative to the recipe's folder; those given with `--set` to the working directory.
`--set` takes TOML values: `--set training.lr=1e-3 --set 'training.loggers=["tensorboard"]'`; a bare word is
text.

What the paper prescribes is the default where it gives one value for all of its data sets. Three settings go
beyond it: `modality_dropout = "exhaustive"`, `mask_tokens = "per_target"` and a `model.width` that is not the
encoders' own.
"""
_SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSection,
    "data.missing": MissingRule,
    "task": TaskSection,
    "model": ModelSection,
    "training": TrainingSection,
}
_NOTES = {
    "data.missing": "`[data.missing.train]`, `[data.missing.val]` and `[data.missing.test]` take the same keys "
    "and replace the common rule, each for one split. See [data.md](data.md#missing-tables)."
}


def reference() -> str:
    """The whole page in Markdown."""
    top = [row for row in option_rows(Recipe) if row["name"] in ("name", "seed")]
    parts = [_HEAD, "## At the top\n", _table(top)]
    for name, model in _SECTIONS.items():
        rows = [row for row in option_rows(model) if row["name"] != "missing" or name != "data"]
        parts += [f"## `[{name}]`\n", _table(rows), *([_NOTES[name] + "\n"] if name in _NOTES else [])]
    parts += ["## `[modalities.<name>]`\n", _MODALITIES]
    shipped = {n: s for n, s in registry().specs.items() if registry().owners[n].distribution == "u2a"}
    for name, spec in shipped.items():
        parts += [f"### {name}\n", _table(modality_rows(spec))]
    return re.sub(r"matches (\S+)", r"matches `\1`", "\n".join(parts))  # not a link to the site


_MODALITIES = """One section a modality; their order in the file is their order everywhere. The section's
name is the modality's, and also the plugin's unless `kind` says otherwise: `[modalities.poster]` with `kind =
"image"`. `u2a plugins show NAME` prints the keys of any installed plugin. A local folder is written with
`./`, `../`, `/` or `~` in front, or is found as it is if it holds a `config.json`; anything else is a hub id,
or `u2a:quickstart/NAME` for the small encoders that come with u2a. `u2a encoder list` names the architectures.

What decides an encoder's output is taken from its checkpoint: `tokenizer.json`, every switch of
`preprocessor_config.json` or `processor_config.json`, and the configuration. A run records their hashes beside
those of the weights, and is not loaded with others. Where they lie does not matter: a run whose shards or
encoders have moved goes on with `u2a train RUN --resume --set data.shards=DIR --set
modalities.NAME.encoder=DIR`, which is recorded in it; `u2a eval` takes the same `--set`.
"""


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        cells = [f"`{row['name']}`", row["type"], _default(row), row["help"]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _default(row: dict[str, Any]) -> str:
    if row["required"]:
        return "needed"
    return "" if row["default"] in (None, [], ()) else f"`{json.dumps(row['default'])}`"


if __name__ == "__main__":
    print(reference(), end="")
