"""``u2a demo``."""

from __future__ import annotations

from importlib.util import find_spec

import click

from u2a.cli.base import Command, checkpoint_option, set_option
from u2a.errors import U2AError


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True)
@click.option("--open", "in_browser", is_flag=True, help="Open the page in this machine's browser.")
@click.option("--split", default="test", show_default=True, help="Where the examples come from.")
@checkpoint_option
@set_option
def demo(
    run: str | None,
    host: str,
    port: int,
    in_browser: bool,
    split: str,
    checkpoint: str,
    sets: tuple[str, ...],
) -> None:
    """Try RUN (the newest if none is named: after `make demo`, the quickstart's) in the browser."""
    if find_spec("gradio") is None:
        raise U2AError('demo: gradio is not installed; pip install "u2a[demo]"')
    from u2a.evaluation.trained import load
    from u2a_demo.examples import examples_of
    from u2a_demo.page import launch

    model = load(run, checkpoint=checkpoint, sets=sets)
    with examples_of(model, split) as examples:
        if examples.note:
            click.echo(f"note: {examples.note}", err=True)
        click.echo(f"run {model.run}")
        launch(model, examples, host, port, in_browser, lambda address: click.echo(f"open {address}"))
