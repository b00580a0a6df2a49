"""Samples that a Python program holds: a data frame, or a list of dicts, as the rows of a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

from u2a.common.frames import rows_of
from u2a.common.values import is_missing
from u2a.contract.blame import blame
from u2a.contract.paths import is_url
from u2a.data.packing.columns import column_name
from u2a.data.packing.manifest import Manifest, ManifestOptions
from u2a.data.packing.pack import pack_manifest, read_extensions
from u2a.data.packing.sources import Row
from u2a.data.packing.summary import Summary
from u2a.data.packing.values import unwrapped
from u2a.data.shards.twins import PLAIN
from u2a.errors import BadSample, U2AError
from u2a.recipe.file import as_recipe
from u2a.recipe.sections import Recipe
from u2a.starting.divide import divide

#: How rows are read, of what `pack` is given.
_READING = ("missing_words", "ignore", "rename_splits")
#: Values that a manifest reads by itself.
_PLAIN = (str, bytes)


class Records(Manifest):
    """Rows in memory, read as a manifest is; arrays and pictures go through their plugin.

    Args:
        rows: names to values.
        recipe: names the modalities.
        options: how cells are read; paths are relative to the working directory.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        recipe: Recipe,
        options: ManifestOptions,
        default_split: str | None = None,
    ) -> None:
        extensions = read_extensions(recipe)
        super().__init__(Path("data.jsonl"), extensions, default_split, options=options)
        self.path = Path("data")
        self._recipe = recipe
        self._rows = rows
        self._read = self._records

    def _records(self, path: Path, problems: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, row in enumerate(self._rows, 1):
            try:
                yield number, {name: self._value(name, value) for name, value in row.items()}
            except BadSample as error:
                problems.append(f"line {number}: {error}")

    def _value(self, name: str, value: Any) -> Any:
        if name in self.extensions:
            value = unwrapped(value)
        if isinstance(value, Path):
            return str(value)
        if name not in self.extensions or isinstance(value, _PLAIN) or is_missing(value):
            return value
        kind = self._recipe.modalities[name].kind
        spec = self._recipe.plugins.spec(kind)
        if isinstance(value, dict) and "json" in spec.extensions:
            return value
        if isinstance(value, dict) and all(map(is_missing, value.values())):
            return None  # as datasets gives a sound that there is not
        if spec.to_member is None:
            raise BadSample(
                f"column {name!r}: its plugin takes no {type(value).__name__}; give a path or bytes"
            )
        with blame(name, self._recipe.plugins.owners[kind], "to_member"):
            try:
                return spec.to_member(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise BadSample(f"column {name!r}: {error}") from error


def pack(
    data: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    overwrite: bool = False,
    root: str | Path | None = None,
    **how: Any,
) -> Summary:
    """Pack a data frame, or a list of dicts, for a recipe, as ``u2a data pack`` does with a manifest.

    Columns are those of a manifest. Without ``key`` samples are numbered; without ``split`` one is drawn by
    class that parts neither equal files nor a ``group``.

    Args:
        data: a pandas or polars data frame (also a lazy one), a pyarrow table, or any iterable or torch
            ``Dataset`` of dicts. A modality's value is a path, the text itself, bytes, what ``datasets`` gives,
            or what its plugin takes (an array, a PIL image, ``(wave, rate)``).
        recipe: a recipe file, a dict, or a validated recipe.
        out: the folder to make; the recipe's ``data.shards`` if None.
        seed: of the split.
        overwrite: replace the data set that is there.
        root: paths are relative to it, and may be absolute below it; the working directory if None.
        how: fields of `u2a.data.packing.plan.PackOptions`, e.g. ``workers=4``, and of
            `u2a.data.packing.manifest.ManifestOptions`, e.g. ``missing_words=("N/A",)``.

    Raises:
        u2a.errors.U2AError: every fault, one a line, each with the row counted from 1.
    """
    loaded = as_recipe(recipe)
    rows = [{column_name(str(name)): value for name, value in row.items()} for row in rows_of(data)]
    if not rows:
        raise U2AError("data: holds no samples")
    for number, row in enumerate(rows, 1):
        if is_missing(row.get("key")):
            row["key"] = f"{number:06d}"
    reading = {name: how.pop(name) for name in _READING if name in how}
    options = ManifestOptions(root=str(root or Path.cwd()), **reading)
    if all(is_missing(row.get("split")) for row in rows):
        _divide(rows, Records(rows, loaded, options, "train"), seed)
    target = loaded.data.shards if out is None else str(out)
    if not isinstance(target, str) or is_url(target):
        raise U2AError("the recipe's data.shards is not a local folder; say where to write with out=")
    source = Records(rows, loaded, options)
    return pack_manifest(loaded, source, target, overwrite=overwrite, **{"check": True, **how})


def _divide(rows: list[dict[str, Any]], source: Records, seed: int) -> None:
    """Give every row a split; packing says what is wrong with rows that cannot be read."""
    problems: list[str] = []
    found = {row.line: row for row in source.rows(problems)}  # by place: 5.0 and 5 are one key
    if problems:
        for row in rows:
            row["split"] = "train"
        return
    labels, ties = [row.labels or () for row in found.values()], [_ties(row) for row in found.values()]
    try:
        drawn = divide(labels, ties, seed)
    except U2AError:
        raise U2AError(
            "data: all samples belong together (one 'group', or the same files in all), so no split can be "
            "drawn; give each sample a 'split'"
        ) from None
    splits = dict(zip(found, drawn, strict=True))
    for number, row in enumerate(rows, 1):
        row["split"] = splits.get(number, "train")


def _ties(row: Row) -> list[Hashable]:
    """A row's group and the digests of its files; where it has none, of its texts together."""
    files = [cell for cell in row.cells.values() if cell.extension not in PLAIN]
    tied: list[Hashable] = [] if row.group is None else [("group", row.group)]
    if not files:
        return [*tied, tuple(cell.read() for cell in row.cells.values())]
    return tied + [hashlib.blake2b(cell.read(), digest_size=16).digest() for cell in files]
