"""A missing table belongs to the modalities' names, whatever order a recipe has them in."""

from __future__ import annotations

import re
from pathlib import Path

import toys
from click.testing import CliRunner

from u2a.cli.main import main
from u2a.data.reading.opening import evaluation_split
from u2a.recipe.file import load_recipe


def test_a_table_fits_a_recipe_with_the_modalities_in_another_order(
    tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    recipe = toys.make(tmp_path, checkpoints, counts={"train": 12})
    table = tmp_path / "table.safetensors"
    drawn = CliRunner().invoke(
        main, ["data", "mask", str(recipe), "--rate", "0.5", "--missing", "text", "--out", str(table)]
    )
    assert drawn.exit_code == 0, drawn.output
    text = recipe.read_text()
    sections = re.findall(r"^\[modalities\.\w+\]\n(?:[^\[].*\n)*", text, re.M)
    assert len(sections) == 2
    turned = tmp_path / "turned.toml"
    turned.write_text(text.replace("".join(sections), "".join(reversed(sections))))
    present = []
    for file, names in ((recipe, ("image", "text")), (turned, ("text", "image"))):
        split = evaluation_split(load_recipe(file, [f"data.missing.table={table}"]), "train")
        assert split.modalities == names
        present.append({name: split.present_NM[:, m].tolist() for m, name in enumerate(names)})
    assert present[0] == present[1]
    assert all(present[0]["image"])
    assert sum(present[0]["text"]) == 6
