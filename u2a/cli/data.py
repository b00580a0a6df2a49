"""``u2a data``: commands that make and look at data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from u2a.cli.base import Group, comma_list, json_option, print_json, set_option
from u2a.cli.data_index import index
from u2a.cli.data_inspect import inspect
from u2a.cli.data_mask import mask
from u2a.contract.paths import is_url
from u2a.errors import U2AError

if TYPE_CHECKING:
    from u2a.data.packing.pack import Progress
    from u2a.data.packing.summary import Summary
    from u2a.recipe.sections import Recipe


#: The names of `u2a.data.prepare.DATA_SETS`, which is imported only when one is wanted.
PUBLIC = ("food101", "mm_imdb", "kinetics_sound", "ave", "crema_d")


@click.group(cls=Group)
def data() -> None:
    """Make data sets of shards from your files."""


data.add_command(index)
data.add_command(inspect)
data.add_command(mask)


def packing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that decide how samples are packed."""
    side, rate = click.IntRange(min=16), click.IntRange(min=4000)
    options = [
        click.option(
            "--shard-size", type=click.IntRange(min=1), default=1000, show_default=True, help="Samples a shard."
        ),
        click.option(
            "--workers", type=click.IntRange(min=1), help="Processes that decode; by default one a core."
        ),
        click.option("--check/--no-check", default=True, show_default=True, help="Decode every file."),
        click.option(
            "--on-error",
            type=click.Choice(["fail", "skip"]),
            default="fail",
            show_default=True,
            help="What an undecodable file does; skip leaves its sample out and lists it in skipped.jsonl.",
        ),
        click.option("--image-side", type=side, help="Re-encode pictures: shorter side in pixels, as JPEG."),
        click.option("--audio-rate", type=rate, help="Re-encode sounds: mono at this rate in Hz, as FLAC."),
        click.option(
            "--overwrite", is_flag=True, help="Replace the data set in --out once the new one is complete."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


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
    sets: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **how: Any,
) -> None:
    """Pack the samples of a manifest into shards for RECIPE.

    Columns: key, split, label or labels, and one for each modality of the recipe: a path relative to the
    manifest, or the text itself. An empty cell means that the modality is missing.
    """
    from u2a.data.packing.manifest import ManifestOptions
    from u2a.data.packing.pack import pack_manifest
    from u2a.recipe.file import load_recipe

    loaded = load_recipe(recipe, sets)
    folder = out or _default_out(loaded)
    reading = ManifestOptions(root, missing_words, ignore, _pairs(rename_split))
    notes: list[str] = []
    with _progress() as progress:
        summary = pack_manifest(
            loaded,
            manifest,
            folder,
            overwrite=overwrite,
            progress=progress,
            tell=notes.append,
            reading=reading,
            **pack_arguments(how),
        )
    if as_json:
        print_json({**summary.as_dict(), "notes": notes})
    else:
        _print_summary(folder, summary)
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _pairs(given: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(tuple(pair.split("=")) for pair in given)
    for pair in pairs:
        if len(pair) != 2 or not all(pair):
            raise U2AError(f"--rename-split {'='.join(pair)}: expected OLD=NEW, e.g. validation=val")
    return pairs  # type: ignore[return-value]


@data.command()
@click.argument("name", type=click.Choice(PUBLIC))
@click.option("--source", required=True, help="The folder with the data set as its authors publish it.")
@click.option("--out", required=True, help="Folder to write.")
@click.option(
    "--split-by",
    type=click.Choice(["sample", "speaker"]),
    default="sample",
    show_default=True,
    help="crema_d: speaker keeps all clips of an actor in one split.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="crema_d: draws the split."
)
@set_option
@packing_options
def prepare(
    name: str,
    source: str,
    out: str,
    split_by: str,
    seed: int,
    sets: tuple[str, ...],
    overwrite: bool,
    **how: Any,
) -> None:
    """Make shards of a public data set for its shipped recipe, and compare its counts with the paper's.

    docs/datasets.md says what to download, and what each folder must hold. --set changes the recipe, e.g. its
    encoders. A second run of the same command changes nothing.
    """
    from u2a.data.prepare import Choice
    from u2a.data.prepare.run import prepare as prepare_set
    from u2a.data.prepare.run import summary_lines
    from u2a.recipe.file import load_recipe
    from u2a.recipe.shipped import shipped_recipes

    recipe = load_recipe(shipped_recipes()[name], sets)
    choice, how = Choice(seed, split_by), pack_arguments(how)
    with _progress() as progress:
        result = prepare_set(name, recipe, source, out, choice, overwrite=overwrite, progress=progress, **how)
    click.echo(f"{'wrote' if result.made else 'complete already, nothing was changed:'} {out}")
    click.echo("\n".join(summary_lines(result.summary)))
    if result.summary.problems:
        click.echo(f"every problem by name: {out}/problems.jsonl")


def pack_arguments(how: dict[str, Any]) -> dict[str, Any]:
    """The values of `packing_options` as fields of `u2a.data.packing.plan.PackOptions`."""
    from u2a.media.recode import Recode

    recode = Recode(how.pop("image_side"), how.pop("audio_rate"))
    return {**how, "recode": recode}


def _default_out(recipe: Recipe) -> str:
    shards = recipe.data.shards
    if isinstance(shards, str) and not is_url(shards):
        return shards
    raise U2AError("the recipe's data.shards is not a local folder; say where to write with --out")


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal; elsewhere a line for every tenth of the work. Both on stderr."""
    from u2a.common.terminal import console, progress_bar

    try:
        if not console.is_terminal:
            yield lambda done, total: _line(done, total)
            return
        with progress_bar() as bar:
            task = bar.add_task("packing", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    except KeyboardInterrupt:
        click.echo("finished shards are kept: the same command goes on from them", err=True)
        raise


def _line(done: int, total: int) -> None:
    if done * 10 // total > (done - 1) * 10 // total:
        click.echo(f"packed {done} of {total} samples", err=True)


def _print_summary(folder: str, summary: Summary) -> None:
    click.echo(f"wrote {folder}")
    for name, split in summary.items():
        unlabelled = f", {split.unlabelled} without label" if split.unlabelled else ""
        click.echo(f"{name}: {split.samples} samples, {split.bytes / 1e6:.1f} MB{unlabelled}")
        for pattern, count in sorted(split.presence.items(), key=lambda item: (-item[1], item[0])):
            click.echo(f"  {count:>8}  {' + '.join(pattern)}")
        if split.skipped:
            click.echo(f"  {len(split.skipped):>8}  skipped: undecodable, listed in {folder}/skipped.jsonl")
