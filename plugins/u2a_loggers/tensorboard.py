"""TensorBoard: event files in ``<run>/tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter


class TensorBoardLogger:
    """Curves ``train/loss``, ``validation/accuracy`` and so on."""

    def __init__(self, folder: Path, done: int) -> None:
        # purge_step hides what an earlier process wrote of steps that are done again.
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def log(self, values: Mapping[str, float], step: int, kind: str) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self, failed: bool) -> None:
        """Write what is still buffered."""
        self.writer.close()


def open_logger(folder: Path, recipe: Mapping[str, Any], done: int) -> TensorBoardLogger:
    """See `u2a.LoggerSpec`."""
    return TensorBoardLogger(folder, done)
