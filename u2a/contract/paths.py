"""Paths and encoder ids in recipes: relative to the recipe's folder, or to the shell's with ``--set``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
#: Schemes that fsspec reads without starting a program.
URL_SCHEMES = ("http", "https", "s3", "gs", "gcs", "hf", "memory")


class FromShell(str):
    """A string given with ``--set``: if it is a relative path, it is relative to the working directory."""

    __slots__ = ()


def is_url(value: str) -> bool:
    """True for ``scheme://...``; such values are opened with fsspec."""
    return "://" in value


def _absolute(value: str, info: ValidationInfo) -> str:
    folder = Path.cwd() if isinstance(value, FromShell) or not info.context else Path(info.context["folder"])
    return os.path.normpath(folder / Path(value).expanduser())


def _path_or_url(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    if is_url(value):
        scheme = value.split("://")[0].lower()
        if scheme not in URL_SCHEMES:
            raise ValueError(
                f"{scheme}:// is not a supported address; use a path or one of {', '.join(URL_SCHEMES)}"
            )
        return str(value)
    if _SCHEME.match(value):
        raise ValueError(f"{value.split(':')[0]}: is refused: u2a never starts a program to read data")
    return _absolute(value, info)


PathOrUrl = Annotated[str, BeforeValidator(_path_or_url)]
"""A path (made absolute) or an address with a scheme that fsspec reads."""
