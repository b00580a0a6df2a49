"""A trained run of pictures and texts, for a service."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import toys

import u2a

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        pytest.importorskip(name, reason='pip install "u2a[serve]"')
    folder = tmp_path_factory.mktemp("served")
    recipe = toys.make(folder, checkpoints, counts={"train": 16, "val": 24, "test": 4})
    u2a.train(recipe, run=folder / "run", sets=["training.epochs=1"])
    return folder / "run"
