"""A trained run for others, on the hub: ``u2a push``. What reads it there is `u2a.runs.published`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import u2a

if TYPE_CHECKING:
    import click


@u2a.hookimpl
def u2a_register_commands(register: Callable[[u2a.CommandSpec], None]) -> None:
    """``u2a push``."""
    register(u2a.CommandSpec("push", _load, help="put a run on the hub"))


def _load() -> click.Command:
    from u2a_hub.command import push

    return push
