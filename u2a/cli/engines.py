"""``--engine NAME --workers N``: the same work on processes that a plugin starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from u2a.errors import PluginError, U2AError

if TYPE_CHECKING:
    from u2a.contract.engines import Engine

engine_option = click.option(
    "--engine", metavar="NAME", help="Work on processes that an engine starts, e.g. ray."
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Of an engine: how many processes.  [default: 1]"
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--engine`` and ``--workers``, for `chosen`."""
    return engine_option(workers_option(command))


def chosen(engine: str | None, workers: int | None) -> Engine | None:
    """The engine that was asked for, if any.

    Raises:
        U2AError: nobody brings it, what it needs is not installed, or processes are asked for without one.
    """
    if engine is None:
        if workers is not None:
            raise U2AError("--workers: are the processes of an engine; name it: --engine ray")
        return None
    from u2a.contract.blame import reason_of
    from u2a.plugins.loading import registry

    shelf = registry().engines
    name = shelf.find(engine)
    if name is None:
        raise U2AError(f"--engine {engine}: {shelf.unknown(engine)}")
    spec = shelf.specs[name]
    if not spec.ready:
        raise U2AError(f"--engine {engine}: needs {spec.module}, which is not installed: {spec.install}")
    try:
        return spec.load()
    except Exception as error:  # a stranger's code
        raise PluginError(f"{shelf.describe(name)} cannot be loaded: {reason_of(error)}") from error
