"""``u2a encoder``: preparing pretrained checkpoints."""

from __future__ import annotations

from pathlib import Path

import click

from u2a.cli.base import Group


@click.group(cls=Group)
def encoder() -> None:
    """Prepare pretrained encoders."""


@encoder.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--revision", help="The hub id's branch, tag or commit.")
def convert(source: str, out: Path, revision: str | None) -> None:
    """Convert SOURCE (a hub id, or a folder with pytorch_model.bin) to safetensors in the new folder OUT.

    Needed once for hub ids without model.safetensors, such as openai/clip-vit-base-patch16. The file is read
    without running any code in it. Afterwards: --set modalities.image.encoder=./OUT
    """
    from u2a.encoders.convert import convert_checkpoint

    click.echo(f"wrote {convert_checkpoint(source, out, revision)}")
