"""One packing on an engine's processes: each packs a part, and the parts are joined."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from u2a.contract.engines import Engine
from u2a.data.packing.manifest import ManifestOptions
from u2a.data.packing.pack import pack_manifest
from u2a.data.packing.parts import merge_parts
from u2a.data.packing.staging import check_target
from u2a.data.packing.summary import Summary, joined, odd_data
from u2a.data.shards.names import odd_splits
from u2a.recipe.sections import Recipe


@dataclass(frozen=True)
class PartPacker:
    """For an engine: packs the part of a number from 1; each process reads the manifest as a whole."""

    recipe: Recipe
    manifest: str
    folder: str
    of: int
    reading: ManifestOptions
    how: dict[str, Any]

    def __call__(self) -> Callable[[int], tuple[Summary, list[str]]]:
        return self.pack

    def place(self, number: int) -> Path:
        """Where a part is written."""
        return Path(self.folder) / f"{number}-of-{self.of}"

    def pack(self, number: int) -> tuple[Summary, list[str]]:
        """What was packed, and what a person should know of it."""
        told: list[str] = []
        how = {**self.how, "part": (number, self.of), "workers": 1}
        place = self.place(number)
        summary = pack_manifest(
            self.recipe, self.manifest, place, reading=self.reading, tell=told.append, overwrite=True, **how
        )
        return summary, told


def pack_on(
    engine: Engine,
    recipe: Recipe,
    manifest: str,
    out: str,
    *,
    workers: int,
    overwrite: bool,
    tell: Callable[[str], None],
    reading: ManifestOptions,
    **how: Any,
) -> Summary:
    """`pack_manifest` in as many parts as there are processes, joined: the same data set, byte for byte.

    All of them see the manifest, its files and the folder of `out`. A part that fails is gone on with by the
    next packing of the same files to the same place.

    Raises:
        U2AError: as `pack_manifest`; `out` is as it was.
    """
    target = Path(os.path.realpath(out))
    check_target(target, overwrite)
    folder = target.with_name(f".{target.name}.parts")
    root = os.path.realpath(reading.root) if reading.root else None
    reading = ManifestOptions(root, reading.missing_words, reading.ignore, reading.rename_splits)
    packer = PartPacker(recipe, os.path.abspath(manifest), str(folder), workers, reading, how)
    numbers = range(1, workers + 1)
    made = list(engine.map(packer, numbers, workers=workers, device="cpu"))
    twins: list[str] = []
    merge_parts([packer.place(number) for number in numbers], target, overwrite=overwrite, tell=twins.append)
    shutil.rmtree(folder, ignore_errors=True)
    summary = joined([part for part, _ in made])
    for note in (*made[0][1], *odd_splits(summary), *odd_data(summary, recipe), *twins):
        tell(note)
    return summary
