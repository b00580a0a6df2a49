"""``u2a data``: commands that make and look at data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from u2a.cli.base import Group, comma_list, json_option, print_json, set_option
from u2a.cli.data_index import index
from u2a.cli.data_inspect import inspect
from u2a.cli.data_mask import mask
from u2a.cli.engines import chosen, engine_option
from u2a.cli.packing import pack_arguments, packing_options, packing_progress
from u2a.contract.paths import is_url
from u2a.errors import U2AError

if TYPE_CHECKING:
    from u2a.data.packing.summary import Summary
    from u2a.recipe.sections import Recipe


@click.group(cls=Group)
def data() -> None:
    """Make data sets of shards from your files."""


data.add_command(index)
data.add_command(inspect)
data.add_command(mask)


@data.command()
@click.argument("recipe")
@click.option("--manifest", required=True, help="JSONL, CSV, TSV or Parquet file with one row a sample.")
@click.option("--out", help="Folder to write; the recipe's data.shards if left out.")
@click.option("--root", metavar="DIR", help="Paths are relative to DIR, and may be absolute below it.")
@click.option(
    "--missing-words",
    multiple=True,
    callback=comma_list,
    metavar="WORD[,WORD]",
    help='Cells that mean missing, e.g. "nan,N/A".',
)
@click.option(
    "--ignore", multiple=True, callback=comma_list, metavar="NAME[,NAME]", help="Columns to leave out."
)
@click.option("--rename-split", multiple=True, metavar="OLD=NEW", help="E.g. validation=val.")
@click.option(
    "--numbers",
    type=click.Choice(["names", "places", "multihot"]),
    help="What numbers as labels are, where that is ambiguous.",
)
@click.option("--part", metavar="I/N", help="Pack only the I-th of N parts; join them with: u2a data merge")
@engine_option
@set_option
@packing_options
@json_option
def pack(
    recipe: str,
    manifest: str,
    out: str | None,
    root: str | None,
    missing_words: tuple[str, ...],
    ignore: tuple[str, ...],
    rename_split: tuple[str, ...],
    part: str | None,
    engine: str | None,
    sets: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Pack the samples of a manifest into shards for RECIPE.

    Columns: key, split, label or labels, and one for each modality of the recipe: a path relative to the
    manifest, or the text itself. An empty cell means that the modality is missing. With --engine, each of
    --workers processes packs a part.
    """
    from u2a.data.packing.manifest import ManifestOptions
    from u2a.data.packing.on_engine import pack_on
    from u2a.data.packing.pack import pack_manifest
    from u2a.recipe.file import load_recipe

    cluster = chosen(engine, None)
    if cluster and part:
        raise U2AError("--part beside --engine: it packs all parts; leave --part out")
    loaded = load_recipe(recipe, sets)
    place = None if part is None else _part(part)
    folder = out or _default_out(loaded) + ("" if place is None else "-part-{}-of-{}".format(*place))
    reading = ManifestOptions(root, missing_words, ignore, _pairs(rename_split))
    notes: list[str] = []
    where = {"overwrite": overwrite, "tell": notes.append, "reading": reading, **pack_arguments(how)}
    if cluster:
        where["workers"] = where["workers"] or 1
        summary = pack_on(cluster, loaded, manifest, folder, **where)
    else:
        with packing_progress() as progress:
            summary = pack_manifest(loaded, manifest, folder, progress=progress, part=place, **where)
    if as_json:
        print_json({**summary.as_dict(), "notes": notes})
    else:
        _print_summary(folder, summary)
    for note in notes:
        click.echo(f"note: {note}", err=True)


@data.command()
@click.argument("out")
@click.argument("parts", nargs=-1, required=True)
@click.option("--overwrite", is_flag=True, help="Replace the data set in OUT once the new one is complete.")
def merge(out: str, parts: tuple[str, ...], overwrite: bool) -> None:
    """Join all PARTS of one packing (folders that u2a data pack --part made) in the folder OUT.

    The result is that of one packing of everything, byte for byte.
    """
    from u2a.data.packing.parts import merge_parts

    notes: list[str] = []
    made = merge_parts(parts, out, overwrite=overwrite, tell=notes.append)
    click.echo(f"wrote {out}")
    for name, shards in made.splits.items():
        click.echo(f"{name}: {sum(shard.samples for shard in shards)} samples in {len(shards)} shards")
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _part(given: str) -> tuple[int, int]:
    number, _, of = given.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise U2AError(f"--part {given}: expected I/N with I from 1 to N, e.g. 2/8")
    return int(number), int(of)


def _pairs(given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(tuple(pair.split("=")) for pair in given)
    for pair in pairs:
        if len(pair) != 2 or not all(pair):
            raise U2AError(f"--rename-split {'='.join(pair)}: expected OLD=NEW, e.g. validation=val")
    return pairs  # type: ignore[return-value]


def _default_out(recipe: Recipe) -> str:
    shards = recipe.data.shards
    if isinstance(shards, str) and not is_url(shards):
        return shards
    raise U2AError("the recipe's data.shards is not a local folder; say where to write with --out")


def _print_summary(folder: str, summary: Summary) -> None:
    click.echo(f"wrote {folder}")
    for name, split in summary.items():
        unlabelled = f", {split.unlabelled} without label" if split.unlabelled else ""
        click.echo(f"{name}: {split.samples} samples, {split.bytes / 1e6:.1f} MB{unlabelled}")
        for pattern, count in sorted(split.presence.items(), key=lambda item: (-item[1], item[0])):
            click.echo(f"  {count:>8}  {' + '.join(pattern)}")
        if split.skipped:
            click.echo(f"  {len(split.skipped):>8}  skipped: undecodable, listed in {folder}/skipped.jsonl")
