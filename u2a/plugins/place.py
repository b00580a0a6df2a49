"""One piece of a process's global state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """One piece of global state.

    Attributes:
        name: as people call it.
        read, write: take it and put it back; both are given the module.
        module: the library that it belongs to; left alone while that is not loaded.
        same: whether what is there now is as good as what was there; None = whether it is equal.
    """

    name: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    module: str = "sys"
    same: Callable[[Any, Any], bool] | None = None
