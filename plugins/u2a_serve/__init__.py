"""A trained run behind HTTP: ``u2a serve``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import u2a

if TYPE_CHECKING:
    import click


@u2a.hookimpl
def u2a_register_commands(register: Callable[[u2a.CommandSpec], None]) -> None:
    """``u2a serve``."""
    register(u2a.CommandSpec("serve", _load, help="answer predictions over HTTP"))


def _load() -> click.Command:
    from u2a_serve.command import serve

    return serve
