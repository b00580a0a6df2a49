"""Checkpoints on the hub: brought to its cache, or found there; and which one a cached folder is of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from u2a.errors import U2AError

if TYPE_CHECKING:
    from u2a.encoders.files import PretrainedOptions

SMALL_FILES = ("*.json", "vocab.txt", "merges.txt")


def hub_id(folder: Path) -> str | None:
    """Whose snapshot in the hub's cache a folder is; None if it is none."""
    parts = folder.parts[-3:]
    if len(parts) != 3 or parts[1] != "snapshots" or not parts[0].startswith("models--"):
        return None
    return parts[0].removeprefix("models--").replace("--", "/")


def fetch(options: PretrainedOptions, patterns: Sequence[str]) -> Path:
    """Bring the files of a hub id to the hub's cache (or find them there); the snapshot's folder.

    Raises:
        U2AError: not there, or no network; says how to get them.
    """
    from huggingface_hub import snapshot_download

    try:
        with _bars(patterns is not SMALL_FILES):  # for the large files only
            folder = snapshot_download(
                options.encoder, revision=options.revision, allow_patterns=list(patterns)
            )
        return Path(folder)
    except Exception as error:  # network, hub and validation errors share no base class
        if type(error).__name__ == "IncompleteSnapshotError":
            raise U2AError(
                f"encoder {options.encoder}: the hub's cache holds only a part of it, and the hub cannot be "
                f"reached; where there is network run: hf download {options.encoder}"
            ) from None
        raise U2AError(
            f"encoder {options.encoder} cannot be read from the hub ({type(error).__name__}); where there is "
            f"network run: hf download {options.encoder} --local-dir DIR, then set encoder = ./DIR (a folder "
            f"is written ./{options.encoder}; there is no checkpoint of that name)"
        ) from None


@contextlib.contextmanager
def _bars(shown: bool) -> Iterator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hide = not shown and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            enable_progress_bars()
