"""``u2a export``: a trained run as graphs that need no u2a."""

from __future__ import annotations

from pathlib import Path

import click

from u2a.cli.base import Command, checkpoint_option, json_option, print_json, set_option


@click.command(cls=Command)
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Compare the export with u2a on the test split, in every pattern.")
@click.option(
    "--samples", type=click.IntRange(min=1), default=32, show_default=True, help="How many to compare."
)
@click.option("--split", default="test", show_default=True, help="Where the samples come from.")
@checkpoint_option
@set_option
@json_option
def export(
    run: str,
    folder: Path,
    verify: bool,
    samples: int,
    split: str,
    checkpoint: str,
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write RUN to FOLDER: one graph a modality, one of the selection and head, as ONNX and as torch.export.

    Beside them: how inputs are made, labels, calibration, a model card, and run.py, which needs onnxruntime,
    numpy and pillow only. What cannot be exported is said before anything is written. With --verify, a folder
    that holds an export is compared and not written again.
    """
    from u2a_export.bundle import MANIFEST, check_ready, write_export
    from u2a_export.check import check_export

    check_ready(run, folder, verify)
    made = None
    if not (folder / MANIFEST).exists():
        made = write_export(run, folder, split, checkpoint, sets)
        if not as_json:
            click.echo(f"wrote {folder}: {', '.join(made['files'])}")
    found = check_export(run, folder, split, samples, sets) if verify else None
    if as_json:
        print_json({"folder": str(folder), "written": made is not None, "verified": found})
    elif found:
        for line in found["lines"]:
            click.echo(line)
