"""Shared by all tests: one thread, no network, and tiny checkpoints on disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Before torch is imported anywhere: several processes share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
# With pytest's importlib mode the test folder is not importable by itself: `import tiny` in any test.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny checkpoints of width 32 by name: clip, vit, dinov2, bert, ast. Read only; copy to change one."""
    import tiny

    root = tmp_path_factory.mktemp("checkpoints")
    return {name: save(root / name) for name, save in tiny.SAVERS.items()}


@pytest.fixture(scope="session")
def pictures_and_texts(tmp_path_factory: pytest.TempPathFactory, checkpoints: dict[str, Path]) -> Path:
    """A small trained run of pictures and texts, with calibration. Read only; copy to change it."""
    import toys

    import u2a

    folder = tmp_path_factory.mktemp("pictures_and_texts")
    recipe = toys.make(folder, checkpoints, counts={"train": 16, "val": 24, "test": 4})
    u2a.train(recipe, run=folder / "run", sets=["training.epochs=1"])
    return folder / "run"


@pytest.fixture(autouse=True)
def _without_comparison(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of tests end without baselines, which take seconds; `compares` marks those that want them."""
    if "compares" not in request.keywords:
        monkeypatch.setattr("u2a.cli.train._say_verdict", lambda run, seconds: None)
