"""Commands that plugins add: found when a name is none of u2a's own, or when all are listed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import click

from u2a.cli.base import Command
from u2a.contract.blame import reason_of
from u2a.errors import PluginError, U2AError


def plugin_commands(group: str) -> list[str]:
    """The names of the commands that plugins add to a group; none where plugins cannot be loaded."""
    from u2a.plugins.loading import registry

    try:
        return [name for name, spec in registry("commands").commands.specs.items() if spec.group == group]
    except U2AError:
        return []


def plugin_command(group: str, name: str) -> click.Command | None:
    """A plugin's command; what goes wrong in loading or running it is one line that names the plugin."""
    from u2a.plugins.loading import registry

    try:
        shelf = registry("commands").commands
    except U2AError as error:  # of the user's own choice of plugins: said when the command is run
        return _failing(name, error)
    spec = shelf.specs.get(name)
    if spec is None or spec.group != group:
        return None
    try:
        command = spec.load()
        if not isinstance(command, click.Command):
            raise TypeError(f"load gave {type(command).__name__}, not a click.Command")
    except BaseException as error:  # a stranger's code: anything can come out of it
        if isinstance(error, KeyboardInterrupt):
            raise
        return _failing(name, PluginError(f"{shelf.describe(name)} cannot be loaded: {reason_of(error)}"))
    command = copy.copy(command)
    command.invoke = partial(_blamed, shelf.describe(name), command.invoke)  # type: ignore[method-assign]
    return command


def _blamed(described: str, invoke: Callable[[click.Context], Any], ctx: click.Context) -> Any:
    try:
        return invoke(ctx)
    except (U2AError, OSError, click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if ctx.meta.get("debug"):
            raise
        raise PluginError(f"{described} failed: {reason_of(error)}") from error


def _failing(name: str, error: U2AError) -> click.Command:
    def fail(**given: Any) -> NoReturn:
        raise error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return Command(name, callback=fail, help=f"({error})", context_settings=anything)
