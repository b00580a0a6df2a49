"""``u2a serve``."""

from __future__ import annotations

import ipaddress
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from u2a.cli.base import Command, checkpoint_option, set_option
from u2a.errors import BadSample, U2AError
from u2a.media.texts import decode_text

#: Where the token may stand, so that it is in no list of processes.
TOKEN = "U2A_SERVE_TOKEN"
_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
_MIB = 2**20


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 = all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 = any free one."
)
@click.option(
    "--max-batch", type=click.IntRange(1, 1024), default=32, show_default=True, help="Samples of a batch."
)
@click.option(
    "--max-delay",
    type=click.FloatRange(0, 1000),
    default=100.0,
    show_default=True,
    metavar="MS",
    help="How long a sample waits for others that are being read.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Samples inside at once; more get 503.",
)
@click.option(
    "--max-body", type=click.FloatRange(0, min_open=True), default=32.0, show_default=True, metavar="MIB"
)
@click.option(
    "--max-samples", type=click.IntRange(1, 2000), default=64, show_default=True, help="Of a request."
)
@click.option("--max-pixels", type=click.IntRange(min=1), default=50_000_000, show_default=True)
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True)
@click.option("--max-frames", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option("--max-text", type=click.IntRange(min=1), default=100_000, show_default=True, help="Characters.")
@click.option(
    "--readers",
    type=click.IntRange(1, 256),
    help="Processes that read samples; if left out one a core, but 2 at least and 8 at most.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help=f"Holds the bearer token that callers must give; or set {TOKEN}.",
)
@click.option(
    "--drain",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="For what is inside when SIGTERM comes.",
)
@checkpoint_option
@click.option("--access-log", is_flag=True, help="A line a request.")
@set_option
def serve(
    run: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    drain: int,
    checkpoint: str,
    access_log: bool,
    sets: tuple[str, ...],
    **how: Any,
) -> None:
    """Answer predictions of RUN (the newest if none is named) over HTTP.

    curl -F image=@a.png -F text="a red boat" localhost:8000/predict
    """
    check_installed()
    token = read_token(token_file)
    from u2a.evaluation.trained import load
    from u2a_serve.server import address_of, listen
    from u2a_serve.server import serve as answer
    from u2a_serve.service import Service

    settings = _settings(how, token)
    with listen(host, port) as listening:
        model = load(run, checkpoint=checkpoint, sets=sets)
        service = Service(model, settings)
        if token is None and not _is_loopback(host):
            click.echo(
                f"note: whoever reaches {host} may use this service; --token-file asks for a token", err=True
            )
        click.echo(f"run {model.run}")
        click.echo(f"answering at {address_of(listening)}/predict; /openapi.json says how to ask")
        left = not answer(service, listening, drain=drain, log=access_log)
    if left:
        raise U2AError(f"ended before everything was answered: {drain} s were not enough; --drain gives more")
    click.echo("ended; everything was answered")


def _settings(how: dict[str, Any], token: str | None) -> Any:
    from u2a_serve.limits import Limits
    from u2a_serve.service import Settings

    if how["max_samples"] > how["max_waiting"]:
        raise U2AError(
            f"--max-samples {how['max_samples']}: must not exceed --max-waiting {how['max_waiting']}"
        )
    body = int(how["max_body"] * _MIB)
    limits = Limits(
        body,
        how["max_samples"],
        how["max_pixels"],
        how["max_seconds"],
        how["max_frames"],
        how["max_text"],
    )
    return Settings(
        how["max_batch"],
        how["max_delay"] / 1000,
        how["max_waiting"],
        8 * body,
        how["readers"] or 0,
        limits,
        token,
    )


def check_installed() -> None:
    """Whether the extra is installed.

    Raises:
        U2AError: it is not; says how to get it.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise U2AError(f'serve: {missing[0]} is not installed; pip install "u2a[serve]"')


def read_token(file: Path | None) -> str | None:
    """The token of a file, or of the environment; None if there is neither.

    Raises:
        U2AError: it is empty, or cannot be sent in a header.
    """
    where, text = TOKEN, os.environ.get(TOKEN)
    if file is not None:
        where = str(file)
        try:
            text = decode_text(file.read_bytes())
        except (OSError, BadSample) as error:
            raise U2AError(
                f"--token-file {file}: cannot be read: {getattr(error, 'strerror', error)}"
            ) from None
    if text is None:
        return None
    token = text.strip()
    if len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token:
        raise U2AError(f"{where}: a token has at least 8 printable characters, and no spaces")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
