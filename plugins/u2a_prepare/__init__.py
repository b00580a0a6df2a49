"""Public data sets, from the layout in which their authors publish them to shards: ``u2a data prepare``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import u2a

if TYPE_CHECKING:
    import click


@u2a.hookimpl
def u2a_register_commands(register: Callable[[u2a.CommandSpec], None]) -> None:
    """``u2a data prepare``."""
    register(u2a.CommandSpec("prepare", _load, group="data", help="make shards of a public data set"))


def _load() -> click.Command:
    from u2a_prepare.command import prepare

    return prepare
