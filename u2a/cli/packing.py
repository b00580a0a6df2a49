"""What all commands that write shards share: their options, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from u2a.data.packing.pack import Progress


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


def pack_arguments(how: dict[str, Any]) -> dict[str, Any]:
    """The values of `packing_options` as fields of `u2a.data.packing.plan.PackOptions`."""
    from u2a.media.recode import Recode

    recode = Recode(how.pop("image_side"), how.pop("audio_rate"))
    return {**how, "recode": recode}


@contextmanager
def packing_progress() -> Iterator[Progress]:
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
