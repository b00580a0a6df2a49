"""``u2a encoder``: preparing pretrained checkpoints."""

from __future__ import annotations

from pathlib import Path

import click

from u2a.cli.base import Group, json_option, print_json


@click.group(cls=Group)
def encoder() -> None:
    """Prepare pretrained encoders."""


@encoder.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the architectures (model_type in config.json) that each modality takes."""
    from u2a.encoders.files import PretrainedOptions
    from u2a.plugins.loading import registry

    found = {
        name: {kind: known.class_token for kind, known in spec.options.architectures.items()}
        for name, spec in registry().specs.items()
        if issubclass(spec.options, PretrainedOptions) and spec.options.architectures
    }
    if as_json:
        print_json(found)
        return
    for name, kinds in found.items():
        click.echo(f"{name}: {', '.join(kinds)}")
    click.echo(
        "any checkpoint of these will do: encoder = a hub id, or a folder with config.json and safetensors"
    )


@encoder.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--revision", help="The hub id's branch, tag or commit.")
def convert(source: str, out: Path, revision: str | None) -> None:
    """Convert SOURCE (a hub id, or a folder or file with weights that only pickle reads) to safetensors in OUT.

    Needed once for hub ids without model.safetensors, such as openai/clip-vit-base-patch16. The file is read
    without running any code in it. Afterwards: --set modalities.image.encoder=./OUT
    """
    from u2a.encoders.convert import convert_checkpoint

    click.echo(f"wrote {convert_checkpoint(source, out, revision)}")
