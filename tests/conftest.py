"""Shared by all tests: one thread, no network, and tiny checkpoints on disk."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported anywhere: several processes share few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
# With pytest's importlib mode the test folder is not importable by itself: `import tiny` in any test.
sys.path.insert(0, str(Path(__file__).parent))

from u2a.common.libraries import torchaudio

torchaudio()  # before a test imports transformers: where torchaudio's import fails, so would that

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; skips where it is not there."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def _without_comparison(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of tests end without baselines, which take seconds; `compares` marks those that want them."""
    if "compares" not in request.keywords:
        monkeypatch.setattr("u2a.cli.train._say_verdict", lambda run, seconds: None)
