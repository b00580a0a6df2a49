"""Weights & Biases: project = the recipe's name, run = the run folder's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb


class WandbLogger:
    """A run whose id is kept in ``<run>/wandb.id``, so that a resumed training goes on in it."""

    def __init__(self, folder: Path, recipe: Mapping[str, Any], done: int) -> None:
        kept, online = folder / "wandb.id", _online()
        known = kept.read_text(encoding="utf-8").strip() if done and kept.exists() else None
        self.run = wandb.init(
            project=recipe["name"],
            name=folder.resolve().name,
            id=known,
            resume="allow" if known and online else None,
            mode=None if online or os.environ.get("WANDB_MODE") else "offline",
            dir=str(folder),
            config=dict(recipe),
            settings=wandb.Settings(console="off"),
        )
        kept.write_text(self.run.id + "\n", encoding="utf-8")

    def log(self, values: Mapping[str, float], step: int, kind: str) -> None:
        """Add a point to each curve, but for steps that the run knows from before a crash."""
        if step >= self.run.step:
            self.run.log({f"{kind}/{name}": value for name, value in values.items()}, step=step)

    def close(self, failed: bool) -> None:
        """Finish the run and its upload."""
        self.run.finish(exit_code=int(failed))


def _online() -> bool:
    """What WANDB_MODE says; else online if somebody is logged in: training is no time for a prompt."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode in ("online", "shared")
    return wandb.login(prompt=False, verify=False)


def open_logger(folder: Path, recipe: Mapping[str, Any], done: int) -> WandbLogger:
    """See `u2a.LoggerSpec`."""
    return WandbLogger(folder, recipe, done)
