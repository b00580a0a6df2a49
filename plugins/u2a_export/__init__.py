"""A trained run for programs without u2a: ``u2a export`` writes graphs (ONNX, torch.export) and what they need.

`graphs` says what a graph holds, `tracing` makes them, `bundle` writes the folder, `check` compares it with
u2a, and `standalone` is the program that is written beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import u2a

if TYPE_CHECKING:
    import click


@u2a.hookimpl
def u2a_register_commands(register: Callable[[u2a.CommandSpec], None]) -> None:
    """``u2a export``."""
    register(u2a.CommandSpec("export", _load, help="write a run as ONNX and torch.export graphs"))


def _load() -> click.Command:
    from u2a_export.command import export

    return export
