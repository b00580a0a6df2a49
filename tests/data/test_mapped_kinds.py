"""Shards of others: a text is what its member says, not the JSON document that says the label as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from webdataset.writer import TarWriter

from u2a.cli.main import main
from u2a.data.reading.opening import open_recipe_split
from u2a.errors import U2AError
from u2a.recipe.file import as_recipe


def indexed(folder: Path, *options: str) -> str:
    """Shards whose samples have a text, a caption and a JSON with both the caption and the label."""
    with TarWriter(str(folder / "x.tar")) as writer:
        for i in range(6):
            document = json.dumps({"caption": f"boat {i}", "label": i % 2}).encode()
            writer.write(
                {"__key__": f"{i}", "txt": f"boat {i}", "caption": f"sea {i}".encode(), "json": document}
            )
    result = CliRunner().invoke(
        main, ["data", "index", str(folder / "x.tar"), "--split", "train", "--classes", "cat,dog", *options]
    )
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def recipe(folder: Path, checkpoints: dict[str, Path]) -> Any:
    return as_recipe(
        {
            "name": "mapped",
            "data": {"shards": str(folder)},
            "task": {"classes": ["cat", "dog"]},
            "modalities": {"words": {"kind": "text", "encoder": str(checkpoints["bert"])}},
        }
    )


def test_json_is_no_text(tmp_path: Path, checkpoints: dict[str, Path]) -> None:
    said = indexed(tmp_path, "--map", "json=words", "--label", "json:label", "--ignore", "txt,caption")
    assert "note: words is read from json members, which hold the label as well" in said
    with pytest.raises(
        U2AError, match=r"^train: 'words' is mapped to json members, and its kind text reads txt"
    ):
        open_recipe_split(recipe(tmp_path, checkpoints), "train")


@pytest.mark.parametrize("extension", ["txt", "caption"])
def test_texts_of_any_name_are_texts(tmp_path: Path, checkpoints: dict[str, Path], extension: str) -> None:
    other = {"txt": "caption", "caption": "txt"}[extension]
    said = indexed(tmp_path, "--map", f"{extension}=words", "--label", "json:label", "--ignore", other)
    assert "hold the label" not in said
    split = open_recipe_split(recipe(tmp_path, checkpoints), "train")
    assert split.members(3, ["words"]) == {"words": b"boat 3" if extension == "txt" else b"sea 3"}
    assert [split.labels(i) for i in range(6)] == [(0,), (1,)] * 3
