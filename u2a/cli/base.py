"""What all commands share: ``--set``, ``--debug``, and errors for people instead of tracebacks."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from u2a.errors import U2AError

#: What a file system refuses, whoever asks: permissions, no space, too long a name, a file for a folder.
MACHINE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
)
F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command with ``--debug`` whose `U2AError` becomes a line on stderr and exit code 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _everywhere()

    def invoke(self, ctx: click.Context) -> Any:
        return _told(super().invoke, ctx)


def _everywhere() -> list[click.Parameter]:
    """The options of every command; groups take them as well, before the command."""
    debug = click.Option(
        ["--debug"], is_flag=True, expose_value=False, help="Show tracebacks.", callback=_debug
    )
    choices = (
        ("--plugin", "FILE", "Load a plugin from a Python file as well.", _plugin_files),
        ("--no-plugin", "NAME", "Leave an installed plugin out.", _left_out),
    )
    return [
        debug,
        *(
            click.Option(
                [option], multiple=True, metavar=metavar, help=text, expose_value=False, callback=callback
            )
            for option, metavar, text, callback in choices
        ),
    ]


def _told(invoke: Callable[[click.Context], Any], ctx: click.Context) -> Any:
    """What a command returns; what people can get wrong becomes a line, and the process ends."""
    try:
        return invoke(ctx)
    except U2AError as error:
        if ctx.meta.get("debug"):
            raise
        rank = os.environ.get("RANK", "0")
        prefix = "error" if rank == "0" else f"error (process {rank})"
        for line in str(error).splitlines():
            click.echo(f"{prefix}: {line}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # `u2a ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if ctx.meta.get("debug") or error.errno not in MACHINE:
            raise
        click.echo(f"error: {error.filename or 'writing'}: {error.strerror}", err=True)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        if ctx.meta.get("debug"):
            raise
        click.echo(f"interrupted {stop}".strip(), err=True)
        sys.exit(130)
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:
        from u2a.cli import ranges

        told = [] if ctx.meta.get("debug") else ranges.lines(error)
        if not told:
            raise
        click.echo("\n".join(f"error: {line}" for line in told), err=True)
        sys.exit(2)


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta["debug"] = value or ctx.meta.get("debug", False)


def _plugin_files(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> None:
    _choose(ctx, "U2A_PLUGIN", os.pathsep, [os.path.abspath(file) for file in files])


def _left_out(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> None:
    _choose(ctx, "U2A_NO_PLUGIN", ",", list(names))


def _choose(ctx: click.Context, variable: str, separator: str, values: list[str]) -> None:
    """Add to a choice of plugins, for this command and the processes that it starts."""
    if not values:
        return
    from u2a.plugins.loading import forget

    before = os.environ.get(variable)
    os.environ[variable] = separator.join(filter(None, [before, *values]))
    forget()

    @ctx.call_on_close
    def restore() -> None:
        forget()
        os.environ.pop(variable)
        if before is not None:
            os.environ[variable] = before


class Group(click.Group):
    """A group whose commands are `Command`s; those that plugins add come after its own."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _everywhere()

    def invoke(self, ctx: click.Context) -> Any:
        return _told(super().invoke, ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if own := super().get_command(ctx, cmd_name):
            return own
        from u2a.cli.of_plugins import plugin_command

        return plugin_command(self._place, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        from u2a.cli.of_plugins import plugin_commands

        return [*super().list_commands(ctx), *plugin_commands(self._place)]

    @property
    def _place(self) -> str:
        """The group's name as plugins give it: ``""`` for ``u2a`` itself."""
        return "" if self.name == "main" else str(self.name)


set_option = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a recipe key, e.g. --set training.lr=1e-4.",
)
checkpoint_option = click.option(
    "--checkpoint",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="Which weights.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print a value as indented JSON, with null for NaN."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that standard output can take, with null for NaN."""
    import json

    from u2a.common.files import without_nan
    from u2a.common.streams import can_print

    text = json.dumps(without_nan(value), indent=indent, ensure_ascii=False)
    return text if can_print(text) else json.dumps(without_nan(value), indent=indent)


def comma_list(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """``--drop a,b --drop c`` to ``("a", "b", "c")``."""
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    return tuple(dict.fromkeys(names))
