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
#: Encoders that come with u2a, and how recipes name them: ``u2a:quickstart/image``.
PACKAGED = "u2a:"
ENCODERS = Path(__file__).parent / "quickstart" / "encoders"


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


def encoder_folder(value: str) -> Path | None:
    """The folder that a validated `EncoderId` names, packaged or local; None for a hub id."""
    if value.startswith(PACKAGED):
        return _packaged()[value]
    return Path(value) if os.path.isabs(value) else None


def _packaged() -> dict[str, Path]:
    """The encoders that come with u2a, by what recipes call them."""
    return {f"{PACKAGED}quickstart/{path.name}": path for path in ENCODERS.iterdir() if path.is_dir()}


def _encoder_id(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str) and value.startswith(PACKAGED):  # kept: a run folder outlives an installation
        known = _packaged()
        if value not in known:
            raise ValueError(f"u2a comes without an encoder {value!r}; there are: {', '.join(sorted(known))}")
        return value
    if isinstance(value, str) and (value.startswith((".", "/", "~")) or value.count("/") > 1):
        return _absolute(value, info)
    if isinstance(value, str) and (Path(_absolute(value, info)) / "config.json").is_file():
        return _absolute(value, info)  # a folder that is there goes before a hub id, as in transformers
    return str(value) if isinstance(value, str) else value


PathOrUrl = Annotated[str, BeforeValidator(_path_or_url)]
"""A path (made absolute) or an address with a scheme that fsspec reads."""

EncoderId = Annotated[str, BeforeValidator(_encoder_id)]
"""A hub id such as ``bert-base-uncased``; a folder: a value that starts with ``.``, ``/`` or ``~``, has two
slashes, or names a folder with a ``config.json``; or one that comes with u2a: ``u2a:quickstart/NAME``."""
