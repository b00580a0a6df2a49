"""Who is to blame: the owner of a registration, and errors that name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from u2a.errors import PluginError, U2AError, one_line


@dataclass(frozen=True)
class Owner:
    """The distribution and entry point that a registration came from."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of {self.distribution} {self.version}"


def reason_of(error: BaseException) -> str:
    """An exception of a stranger's code in one printable line."""
    name, text = type(error).__name__, one_line(error)
    return text if isinstance(error, PluginError) else f"{name}: {'no message' if text == name else text}"


@contextmanager
def blame(name: str, owner: Owner, part: str) -> Iterator[None]:
    """Turn what a plugin's own code raises into a `PluginError` that names modality, distribution and part.

    Other `U2AError` pass: they tell of the user's files and options.
    """
    culprit = f"modality {name!r} ({owner})"
    try:
        yield
    except PluginError as error:
        raise PluginError(f"{culprit}: {error}") from error
    except U2AError:
        raise
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a stranger's code: anything can come out of it, SystemExit included
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise  # the machine's fault, not the plugin's
        raise PluginError(f"{culprit}: {part} failed: {reason_of(error)}") from error


@contextmanager
def ending_nothing(part: str) -> Iterator[None]:
    """Turn what would end the process, and is no error, into a `PluginError`; errors pass.

    Where a plugin's own ``SystemExit`` came through, a command would say nothing and succeed.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise PluginError(f"{part} failed: {reason_of(error)}") from error
