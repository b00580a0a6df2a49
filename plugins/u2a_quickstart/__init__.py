"""The quickstart's task: which of twelve ships is it? Real PNG, WAV, MP4 and text files, made from a seed.

`docs/quickstart.md` describes the task and its ceilings; `u2a_quickstart.generate.generate` writes the files,
`u2a_quickstart.prepare.prepare` the whole data set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import u2a

if TYPE_CHECKING:
    import click


@u2a.hookimpl
def u2a_register_commands(register: Callable[[u2a.CommandSpec], None]) -> None:
    """``u2a quickstart``."""
    register(u2a.CommandSpec("quickstart", _load, help="make the demonstration's data"))


def _load() -> click.Command:
    from u2a_quickstart.command import quickstart

    return quickstart
