"""Trackio: project = the recipe's name, run = the run folder's, in Trackio's own store (TRACKIO_DIR)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import trackio


class TrackioLogger:
    """A run that a resumed training finds by its name."""

    def __init__(self, folder: Path, recipe: Mapping[str, Any], done: int) -> None:
        with redirect_stdout(sys.stderr):
            self.run = trackio.init(
                project=recipe["name"],
                name=folder.resolve().name,
                resume="allow" if done else "never",
                config=dict(recipe),
                embed=False,
            )

    def log(self, values: Mapping[str, float], step: int, kind: str) -> None:
        """Add a point to each curve."""
        self.run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def close(self, failed: bool) -> None:
        """Write what is still buffered."""
        with redirect_stdout(sys.stderr):
            trackio.finish()


def open_logger(folder: Path, recipe: Mapping[str, Any], done: int) -> TrackioLogger:
    """See `u2a.LoggerSpec`."""
    return TrackioLogger(folder, recipe, done)
