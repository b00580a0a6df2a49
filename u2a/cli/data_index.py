"""``u2a data index``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from u2a.cli.base import Command, comma_list
from u2a.errors import BadSample, U2AError

if TYPE_CHECKING:
    from pathlib import Path

    from u2a.data.shards.index import IndexInfo
    from u2a.data.shards.label_rule import Numbers


@click.command(cls=Command)
@click.argument("shards", nargs=-1, required=True)
@click.option("--map", "pairs", multiple=True, metavar="EXT=MODALITY", help="What an extension holds.")
@click.option(
    "--missing-ok", multiple=True, callback=comma_list, metavar="M[,M]", help="Modalities that may be absent."
)
@click.option(
    "--ignore",
    multiple=True,
    callback=comma_list,
    metavar="EXT|PATTERN[,...]",
    help="Members to leave out: an extension, or a pattern of names such as '*_thumb.*'.",
)
@click.option(
    "--label", metavar="EXT|json:KEY", help="The member that holds the label, e.g. cls or json:label."
)
@click.option(
    "--classes", metavar="FILE|A,B", help="Class names, one a line of a file; numeric labels are places."
)
@click.option(
    "--numbers",
    type=click.Choice(["names", "places", "multihot"]),
    help="What numbers as labels are, where that is ambiguous.",
)
@click.option("--last-dot", is_flag=True, help="Names have dots: the extension is what follows the last one.")
@click.option("--split", metavar="NAME", help="Also add the shards to this split of dataset.json.")
@click.option("--index-dir", metavar="FOLDER", help="Write the indexes there, for shards in read-only folders.")
def index(
    shards: tuple[str, ...],
    pairs: tuple[str, ...],
    missing_ok: tuple[str, ...],
    ignore: tuple[str, ...],
    label: str | None,
    classes: str | None,
    numbers: Numbers | None,
    last_dot: bool,
    split: str | None,
    index_dir: str | None,
) -> None:
    """Write the index beside each of SHARDS (tar files; brace ranges will do).

    Without --map the shards are u2a's own. With --map they were made elsewhere: every extension must be mapped
    to a modality, hold the label, or be ignored, and a sample must have all mapped modalities but those
    of --missing-ok. Anything odd is an error that names the member.
    """
    from pathlib import Path

    from u2a.data.shards.foreign import label_within, parse_mapping
    from u2a.data.shards.indexing import index_shards
    from u2a.data.shards.splits import add_split

    if not pairs and (missing_ok or ignore or label or classes or numbers or last_dot):
        raise U2AError("--missing-ok, --ignore, --label, --classes, --numbers and --last-dot go with --map")
    if split and index_dir:
        raise U2AError(
            "--split lists shards whose index is beside them; with --index-dir name both in the recipe"
        )
    if split:
        _check_split(split)
    paths = _paths(shards)
    mapping = None
    if pairs:
        mapping = parse_mapping(
            pairs, may_lack=missing_ok, ignored=ignore, label=label, numbers=numbers, last_dot=last_dot
        )
        if odd := label_within(mapping):
            _note(odd)
    folder = Path(index_dir) if index_dir else None
    infos = index_shards(paths, mapping, _classes(classes), _tell, folder=folder, tell=_note)
    click.echo(f"indexed {len(paths)} shards, {sum(info.samples for info in infos)} samples")
    if split:
        click.echo(add_split(paths, split))
    if folder:
        click.echo(
            f"the recipe says where they are: data.indexes = {{ SPLIT = [{str(folder / '...tar.idx')!r}] }}"
        )


def _check_split(split: str) -> None:
    from u2a.data.shards.names import check_split, odd_split

    try:
        check_split(split)
    except ValueError as error:
        raise U2AError(f"--split: {error}") from None
    if (odd := odd_split(split)) is not None:
        _note(odd[1])


def _paths(shards: tuple[str, ...]) -> list[Path]:
    from u2a.data.shards.dataset import local_path, shard_addresses

    return [local_path(address) for address, _ in shard_addresses({"SHARDS": shards}, "SHARDS")]


def _classes(given: str | None) -> tuple[str, ...]:
    import os
    from pathlib import Path

    from u2a.common.values import looks_like_file, nfc
    from u2a.media.texts import decode_text

    if given is None:
        return ()
    try:
        names = (
            decode_text(Path(given).read_bytes()).splitlines() if os.path.isfile(given) else given.split(",")
        )
    except (OSError, BadSample) as error:
        raise U2AError(f"--classes {given}: cannot be read: {getattr(error, 'strerror', error)}") from None
    found = tuple(nfc(name.strip()) for name in names if name.strip())
    if len(found) == 1 and looks_like_file(given):
        raise U2AError(f"--classes {given}: is one name, and no file is called so")
    if len(set(found)) != len(found):
        raise U2AError(f"--classes {given}: names a class twice")
    return found


def _tell(shard: Path, info: IndexInfo) -> None:
    click.echo(f"{shard}: {info.samples} samples, {', '.join(info.modalities)}", err=True)


def _note(line: str) -> None:
    click.echo(f"note: {line}", err=True)
