"""MLflow: experiment = the recipe's name, run = the run folder's."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

PARAMS_AT_ONCE = 100  # MLflow takes no more


class MlflowLogger:
    """A run whose id is kept in ``<run>/mlflow.id``, so that a resumed training goes on in it.

    The store is MLFLOW_TRACKING_URI; without it, ``mlflow.db`` beside the run folder.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any], done: int) -> None:
        root = folder.resolve().parent
        local = None if os.environ.get("MLFLOW_TRACKING_URI") else f"sqlite:///{root / 'mlflow.db'}"
        self.client = MlflowClient(tracking_uri=local)
        kept = folder / "mlflow.id"
        if done and kept.exists():
            self.id = kept.read_text(encoding="utf-8").strip()
            self.client.update_run(self.id, status="RUNNING")
            return
        experiment = self._experiment(recipe["name"], (root / "mlartifacts").as_uri() if local else None)
        self.id = self.client.create_run(experiment, run_name=folder.resolve().name).info.run_id
        kept.write_text(self.id + "\n", encoding="utf-8")
        params = [Param(key, value) for key, value in _flat(recipe)]
        for first in range(0, len(params), PARAMS_AT_ONCE):
            self.client.log_batch(self.id, params=params[first : first + PARAMS_AT_ONCE])

    def _experiment(self, name: str, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name, artifacts)

    def log(self, values: Mapping[str, float], step: int, kind: str) -> None:
        """Add a point to each curve."""
        now = int(time.time() * 1000)
        metrics = [Metric(f"{kind}/{name}", value, now, step) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def close(self, failed: bool) -> None:
        """Mark the run as finished or failed."""
        self.client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """``{"data": {"workers": 2}}`` as ``data.workers``, ``2``; lists as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def open_logger(folder: Path, recipe: Mapping[str, Any], done: int) -> MlflowLogger:
    """See `u2a.LoggerSpec`."""
    return MlflowLogger(folder, recipe, done)
