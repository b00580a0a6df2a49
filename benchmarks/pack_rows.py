"""Packs many tiny rows and prints wall time and peak memory: python benchmarks/pack_rows.py [ROWS] [WORKERS].

Peak memory is that of this process, and what it grew by after everything was imported and ten rows were packed.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from u2a.data.packing.pack import pack_manifest
from u2a.recipe.file import load_recipe

RECIPE = """
name = "rows"
data = { shards = "shards" }
task = { kind = "single_label", classes = ["even", "odd"] }
[modalities.text]
encoder = "u2a:quickstart/text"
[modalities.other]
kind = "text"
encoder = "u2a:quickstart/text"
[training]
batch_size = 4
epochs = 6
lr = 1e-3
"""


def main(rows: int = 100_000, workers: int = 1) -> None:
    """Pack so many rows with so many processes, decoding each."""
    with tempfile.TemporaryDirectory() as name:
        _pack(Path(name) / "few", 10, 1)
        before, start = _peak(), time.perf_counter()
        _pack(Path(name) / "many", rows, workers)
        seconds, peak = time.perf_counter() - start, _peak()
    print(
        f"{rows} rows, {workers} workers: {seconds:.1f} s, {seconds / rows * 1e3:.3f} ms a row; "
        f"peak {peak:.0f} MB, grown by {peak - before:.0f} MB"
    )


def _pack(folder: Path, rows: int, workers: int) -> None:
    folder.mkdir()
    (folder / "rows.toml").write_text(RECIPE)
    with open(folder / "rows.csv", "w") as table:
        table.write("key,split,label,text,other\n")
        for i in range(rows):
            split, label = ("train", "test")[i % 10 == 0], ("even", "odd")[i % 2]
            table.write(f"row-{i:07d},{split},{label},words of row {i},more of {i}\n")
    recipe = load_recipe(folder / "rows.toml")
    pack_manifest(recipe, folder / "rows.csv", folder / "shards", workers=workers, check=True)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
