"""The command line: parse and delegate. ``u2a --help`` imports neither torch nor transformers."""

from __future__ import annotations

from importlib.metadata import version

import click

from u2a.cli.base import Group
from u2a.cli.baselines import baselines
from u2a.cli.data import data
from u2a.cli.encoder import encoder
from u2a.cli.evaluate import evaluate
from u2a.cli.params import params
from u2a.cli.plugins import plugins
from u2a.cli.predict import predict
from u2a.cli.recipe import recipe
from u2a.cli.report import compare, report, sweep
from u2a.cli.start import init, run
from u2a.cli.train import train


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("u2a"), prog_name="u2a")
def main() -> None:
    """Adapt pretrained unimodal transformers to multimodal tasks; keep working when modalities are missing."""


for command in (
    init,
    run,
    train,
    evaluate,
    predict,
    report,
    compare,
    baselines,
    sweep,
    params,
    recipe,
    data,
    plugins,
    encoder,
):
    main.add_command(command)
