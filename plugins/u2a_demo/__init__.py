"""A trained run on a page in the browser: ``u2a demo``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import u2a

if TYPE_CHECKING:
    import click


@u2a.hookimpl
def u2a_register_commands(register: Callable[[u2a.CommandSpec], None]) -> None:
    """``u2a demo``."""
    register(u2a.CommandSpec("demo", _load, help="try a run in the browser"))


def _load() -> click.Command:
    from u2a_demo.command import demo

    return demo
