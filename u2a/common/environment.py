"""Settings from the environment; one that cannot be used is refused by its name, whenever it is needed."""

from __future__ import annotations

import math
import os
from pathlib import Path

from u2a.errors import U2AError


def number(name: str, default: float, *, least: float = 0.0) -> float:
    """A number from the environment.

    Raises:
        U2AError: the variable holds no such number.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < least:
        raise U2AError(f"the environment variable {name} is {text!r}, not a number from {least:g} up")
    return value


def whole(name: str, default: int, *, least: int = 0) -> int:
    """A whole number from the environment.

    Raises:
        U2AError: the variable holds no such number.
    """
    value = number(name, default, least=least)
    if value != int(value):
        raise U2AError(f"the environment variable {name} is {os.environ[name]!r}, not a whole number")
    return int(value)


def cache_folder() -> Path:
    """``$U2A_CACHE``, or ``~/.cache/u2a``."""
    return Path(
        os.environ.get("U2A_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "u2a"
    ).expanduser()
