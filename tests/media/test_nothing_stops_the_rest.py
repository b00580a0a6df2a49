"""What one file does to its decoder never stops a packing, an inspection or a gallery."""

from __future__ import annotations

from pathlib import Path

import pytest

from u2a.data.inspection import findings, gallery
from u2a.data.packing.pack import pack_manifest
from u2a.recipe.file import load_recipe
from u2a_text.preprocess import TextPreprocessor


def three_texts(folder: Path, encoder: Path) -> Path:
    rows = ["key,split,label,text", "a,train,x,the red boat", "b,train,y,the odd sea", "c,train,x,old town"]
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    path = folder / "recipe.toml"
    path.write_text(
        'name = "n"\n[data]\nshards = "./out"\n[task]\nclasses = ["x", "y"]\n'
        f'[modalities.text]\nkind = "text"\nencoder = "{encoder}"\n'
    )
    return path


@pytest.mark.parametrize("kind", [MemoryError, RuntimeError, KeyError, AttributeError])
def test_any_exception_of_a_preprocessor_is_that_samples(tmp_path, checkpoints, monkeypatch, kind):
    plain = TextPreprocessor.__call__

    def raising(self, member, **how):
        if b"odd" in member:
            raise kind("no such thing")
        return plain(self, member, **how)

    monkeypatch.setattr(TextPreprocessor, "__call__", raising)
    recipe = load_recipe(three_texts(tmp_path, checkpoints["bert"]))
    summary = pack_manifest(
        recipe, tmp_path / "rows.csv", tmp_path / "out", check=True, on_error="skip", tell=lambda note: None
    )
    assert summary["train"].samples == 2
    assert list(summary["train"].skipped) == ["b"]


def test_an_exception_of_a_decoder_is_a_line_of_inspection_and_gallery(tmp_path, checkpoints, monkeypatch):
    recipe = load_recipe(three_texts(tmp_path, checkpoints["bert"]))
    pack_manifest(recipe, tmp_path / "rows.csv", tmp_path / "out", tell=lambda note: None)

    def raising(recipe, name, data, *rest):
        if b"odd" in data:
            raise IndexError("list index out of range")
        return plain(recipe, name, data, *rest)

    for module, name in ((findings, "describe"), (gallery, "preview")):
        plain = getattr(module, name)
        monkeypatch.setattr(module, name, raising)
        splits = findings.open_splits(recipe)
        if module is findings:
            wrong = findings.inspect(recipe, splits).wrong
            assert [line for line in wrong if "IndexError" in line and "'b'" in line]
        else:
            cards = gallery.pick_cards(splits, recipe)
            assert cards["y"][0].tiles == {"text": "(cannot be decoded: IndexError: list index out of range)"}
            assert cards["x"][0].tiles == {"text": "the red boat"}
